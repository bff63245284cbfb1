"""What counts as a proof of who somebody is."""

from app.auth.authenticator import Identity
from app.auth.tokens import HS256, Claims, Expectations, Key, header_of, verified
from domain.access import Role
from domain.errors import Unauthenticated


class Proofs:
    """Reads the proofs that the settings allow."""

    def __init__(self, secret: str | None, expected: Expectations) -> None:
        self._shared = None if secret is None else Key(HS256, secret)
        self._expected = expected

    async def identity(self, token: str) -> Identity:
        """Whose token this is. Raises Unauthenticated."""
        header_of(token)
        if self._shared is None:
            raise Unauthenticated("Nobody's tokens are taken here: set JWT_SECRET")
        return _identity(verified(token, self._shared, self._expected))


def _identity(claims: Claims) -> Identity:
    name = claims.text("name") or claims.text("email") or claims.subject
    role = str(claims.all.get("role", "")).upper()
    return Identity(None, name, Role(role) if role in Role.__members__ else Role.VIEWER, None, claims.expires_at)
