"""What an operation has to pass before it is executed, whichever way it came."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import get_variable_values

from domain.access import Actor, Permission, Role, permits
from domain.errors import Forbidden, TooManyRequests
from resolvers.compile.documents import PreparedOperation
from resolvers.limits.cost import reading_cost, too_expensive
from resolvers.limits.rates import RateLimiter
from resolvers.limits.structure import DocumentLimits
from resolvers.limits.trusted import TrustedDocuments

EVERYBODY: Final = Permission(Role.VIEWER, None)


@dataclass(slots=True)
class Pass:
    """An operation may be executed. Hand it back when that is over.

    What is subscribed to does not count among the operations that run: how many of those there are has bounds of its
    own, and when a server restarts all of them come back at once.
    """

    cost: int
    counts: bool = False
    viewer: Hashable = None


@dataclass(frozen=True, slots=True)
class Guard:
    """The limits of one server. By itself, it knows those of documents and of their cost."""

    documents: DocumentLimits = field(default_factory=DocumentLimits)
    most_cost: int = 20_000
    introspection: Permission | None = EVERYBODY
    """What asking about the schema takes; None where nobody may."""
    trusted: TrustedDocuments = field(default_factory=TrustedDocuments)
    limiter: RateLimiter | None = None
    always_tells_cost: bool = False

    def may_introspect(self, actor: Actor) -> bool:
        """Whether somebody may know what the schema has."""
        return self.introspection is not None and permits(actor.role, actor.scopes, self.introspection)

    def admit(
        self,
        prepared: PreparedOperation,
        values: Mapping[str, Any] | None,
        given: Mapping[str, Any] | None,
        actor: Actor,
    ) -> Pass:
        """Let an operation pass. `values` are its coerced variables, None where those `given` are not plainly right.

        Raises Forbidden, LimitExceeded and TooManyRequests.
        """
        if prepared.cost.introspects and not self.may_introspect(actor):
            raise Forbidden(_no_introspection(self.introspection))
        cost = _cost(prepared, values, given)
        if cost > self.most_cost:
            raise too_expensive(cost, self.most_cost)
        limiter = self.limiter
        if limiter is None:
            return Pass(cost)
        counts = prepared.kind != "subscription"
        viewer: Hashable = None
        has_begun = False
        try:
            if counts:
                viewer, has_begun = limiter.begin(actor), True
            limiter.take(actor, cost + prepared.reading_cost)
        except TooManyRequests as error:
            if has_begun:
                limiter.end(viewer)
            error.requested = cost
            raise
        prepared.reading_cost = 0
        return Pass(cost, counts, viewer)

    def charge_refused(self, text: str | None, actor: Actor) -> None:
        """Let somebody pay for a document that was read and is not executed. Raises TooManyRequests."""
        if self.limiter is not None:
            self.limiter.take(actor, 1 + reading_cost(text or ""))

    def leave(self, passed: Pass) -> None:
        """An operation is over."""
        if passed.counts and self.limiter is not None:
            self.limiter.end(passed.viewer)

    def cost_extension(self, requested: int | None, actual: int | None, actor: Actor) -> dict[str, Any]:
        """What `extensions.cost` says. `actual` is null where nobody counted it."""
        told: dict[str, Any] = {"requested": requested, "actual": actual, "maximum": self.most_cost}
        balance = None if self.limiter is None else self.limiter.balance(actor)
        if balance is not None:
            told["remaining"] = balance.remaining
            told["capacity"] = balance.capacity
            told["refillPerSecond"] = balance.refill_per_second
        return told


def _cost(prepared: PreparedOperation, values: Mapping[str, Any] | None, given: Mapping[str, Any] | None) -> int:
    if values is None:
        # Ordinary execution may still take what is not plainly right: it has to cost as much then.
        coerced = get_variable_values(
            prepared.lookup.schema, prepared.operation.variable_definitions or (), dict(given or {}), max_errors=1
        )
        if isinstance(coerced, list):
            return 1  # It is about to be refused.
        values = coerced.coerced
    return prepared.cost.requested(values)


def _no_introspection(permission: Permission | None) -> str:
    if permission is None:
        return "Nobody may ask about the schema here (INTROSPECTION_ROLE): read the schema that was published"
    return f"Asking about the schema takes the role {permission.role} (INTROSPECTION_ROLE): ask an admin for it"
