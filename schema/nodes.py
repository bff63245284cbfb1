"""What all objects share (Relay's Node and connections)."""

from typing import Generic, TypeVar

import strawberry

from resolvers import sql
from resolvers.limits.weights import Weight, costing
from schema.scalars import DateTime

T = TypeVar("T")


@strawberry.interface(description="An object with an id of its own, the same here, in REST, in SQL and in logs.")
class Node:
    """An object with an id of its own."""

    id: strawberry.ID = sql.column("The id: a UUID that sorts by the time of creation.")


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    """Where a page lies in its list (Relay)."""

    has_next_page: bool = strawberry.field(description="Whether something comes after the page.")
    has_previous_page: bool = strawberry.field(description="Whether something comes before the page.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first item.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last item.")


@strawberry.type(description="An item of a list, and its place there.")
class Edge(Generic[T]):
    """An item of a list, and its place there."""

    cursor: str = strawberry.field(description="The place, to go on from with `after` or `before`.")
    node: T = strawberry.field(description="The item.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    """A page of a list."""

    nodes: list[T] = strawberry.field(description="The items.")
    edges: list[Edge[T]] = strawberry.field(description="The items with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")
    total_count: int = strawberry.field(
        description="How long the whole list is. Costs something only when asked for.",
        metadata=costing(Weight(base=10)),
    )


@strawberry.input(description="A time range, its end excluded.")
class TimeRange:
    """A time range, its end excluded."""

    from_: DateTime = strawberry.field(name="from", description="The first moment.")
    to: DateTime = strawberry.field(description="The moment after the last.")
