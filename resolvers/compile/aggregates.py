"""What an aggregated field counts: the rows of a time range that a filter lets through."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.errors import ValidationFailed
from resolvers.compile.arguments import Argument
from resolvers.compile.filters import condition_sql
from resolvers.compile.parameters import Bindings, Parameters
from resolvers.compile.sources import Aggregate

BUCKETS = 1_000
DEFAULT_BUCKET_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Scope:
    """What an aggregate asks of a row, and the bound values that its groups may use."""

    where: Callable[[str], str]
    names: Mapping[str, str]


def scope_of(
    source: Aggregate, arguments: Mapping[str, Argument], parameters: Parameters, fill: Callable[..., str]
) -> Scope:
    """The scope of an aggregate field with these arguments. Raises ValidationFailed for an impossible range."""
    ends = arguments["range"].fields or {}
    bucket = arguments.get("bucketSeconds") or Argument(None)

    def checked(bindings: Bindings) -> Any:
        start, end, seconds = (_read(part, bindings) for part in (ends["from"], ends["to"], bucket))
        check_range(start, end, seconds, has_buckets=source.has_buckets)
        return start

    checked(Bindings({}, ends["from"].value)) if _is_constant(ends["from"], ends["to"], bucket) else None
    names = {
        "from": parameters.bind_getter(checked, "timestamptz"),
        "to": parameters.bind(ends["to"], "timestamptz"),
        "bucket": parameters.bind_converted(bucket, lambda given: given or DEFAULT_BUCKET_SECONDS, "integer"),
    }
    inside = f"{source.range_sql} >= {names['from']} and {source.range_sql} < {names['to']}"
    conditions = condition_sql(source.conditions, arguments.get("filter"), parameters)

    def where(it: str) -> str:
        return " and ".join(fill(template, it=it) for template in (inside, *conditions))

    return Scope(where, names)


def check_range(start: datetime, end: datetime, bucket_seconds: int | None, *, has_buckets: bool = True) -> None:
    """Raises ValidationFailed unless the range is one, and where it `has_buckets`, makes a bounded number of them."""
    if start >= end:
        raise ValidationFailed("`range.from` must lie before `range.to`", ["range"])
    if not has_buckets:
        return
    seconds = DEFAULT_BUCKET_SECONDS if bucket_seconds is None else bucket_seconds
    if seconds < 1:
        raise ValidationFailed("`bucketSeconds` must be at least 1", ["bucketSeconds"])
    if (end - start) / timedelta(seconds=seconds) > BUCKETS:
        raise ValidationFailed(f"The range makes more than {BUCKETS} buckets, use longer ones", ["bucketSeconds"])


def _read(argument: Argument, bindings: Bindings) -> Any:
    return argument.value if argument.get is None else argument.get(bindings.variables)


def _is_constant(*arguments: Argument) -> bool:
    return all(argument.get is None for argument in arguments)
