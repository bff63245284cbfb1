"""The services of the shop, and what each of their endpoints does: data, which `service.py` acts out."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Call:
    """A request that an endpoint makes to another service."""

    service: str
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a service answers: it works for about `seconds`, asks its database, then other services in this order."""

    method: str
    path: str
    seconds: float
    statement: str | None = None
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A service as the catalog shall know it, with its endpoints."""

    name: str
    description: str
    tier: int
    endpoints: tuple[Endpoint, ...]

    @property
    def depends_on(self) -> tuple[str, ...]:
        """The services that it calls."""
        return tuple(dict.fromkeys(call.service for endpoint in self.endpoints for call in endpoint.calls))


SERVICES: Final = (
    Service(
        "storefront",
        "What customers see.",
        1,
        (
            Endpoint("GET", "/", 0.002, calls=(Call("catalog", "GET", "/products"),)),
            Endpoint("POST", "/orders", 0.003, calls=(Call("checkout", "POST", "/orders"),)),
        ),
    ),
    Service("catalog", "What there is to buy.", 2, (Endpoint("GET", "/products", 0.002, "SELECT products"),)),
    Service(
        "checkout",
        "From the basket to a paid order.",
        1,
        (
            Endpoint(
                "POST",
                "/orders",
                0.004,
                calls=(
                    Call("inventory", "POST", "/reservations"),
                    Call("payments", "POST", "/payments"),
                    Call("shipping", "POST", "/shipments"),
                ),
            ),
        ),
    ),
    Service("payments", "Charges cards.", 1, (Endpoint("POST", "/payments", 0.012),)),
    Service("inventory", "What is in stock.", 2, (Endpoint("POST", "/reservations", 0.002, "UPDATE stock"),)),
    Service("shipping", "From a paid order to a parcel.", 3, (Endpoint("POST", "/shipments", 0.003),)),
)
"""In the order of their ports."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What is promised of a service: a share of its requests that do not fail, or that are as fast as a bucket."""

    service: str
    name: str
    objective: float
    within_seconds: float | None = None


OBJECTIVES: Final = (
    Objective("storefront", "availability", 0.99),
    Objective("storefront", "latency", 0.95, within_seconds=0.5),
    Objective("checkout", "availability", 0.99),
    Objective("payments", "availability", 0.995),
)

BURN_RATES: Final = (
    {"name": "1 h", "response": "PAGE", "longWindowSeconds": 3600, "shortWindowSeconds": 300, "factor": 14.4},
    {"name": "2 h", "response": "TICKET", "longWindowSeconds": 7200, "shortWindowSeconds": 300, "factor": 6},
)
"""The usual windows, of up to three days, would burn on for hours after a fault of minutes: a shop that was opened just
now has nothing else to weigh it against.
"""

FIRST_VERSION: Final = "1.4.0"
BAD_VERSION: Final = "1.5.0"
