"""Which role a token of others gives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain.access import Role

GRAFANA_ROLES: Final[Mapping[str, Role]] = {
    "viewer": Role.VIEWER,
    "editor": Role.RESPONDER,
    "admin": Role.ADMIN,
    "grafana admin": Role.ADMIN,
    "grafanaadmin": Role.ADMIN,
}
_OURS: Final[Mapping[str, Role]] = {role.value.lower(): role for role in Role}


@dataclass(frozen=True, slots=True)
class RoleClaim:
    """Where the role stands (`role`, `realm_access.roles`), and which words mean which. `default` is for no word of all
    of them; None there refuses.
    """

    path: str
    words: Mapping[str, Role] = field(default_factory=dict)
    default: Role | None = Role.VIEWER

    def of(self, claims: Mapping[str, Any]) -> Role | None:
        """The highest role that the claims say, None where they say none that is known."""
        known = {**_OURS, **{word.lower(): role for word, role in self.words.items()}}
        found = [known[word.lower()] for word in _words(self._value(claims)) if word.lower() in known]
        order = list(Role)
        return max(found, key=order.index, default=None)

    def _value(self, claims: Mapping[str, Any]) -> object:
        if self.path in claims:  # Some issuers name their claims with URLs, whose dots lead nowhere.
            return claims[self.path]
        value: object = claims
        for name in self.path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


def _words(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return [value, *value.split()]
    if isinstance(value, list):
        return [word for word in value if isinstance(word, str)]
    return []
