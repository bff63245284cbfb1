"""What the database says of whoever shows a proof: reads of one row each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from db.database import Database
from domain.access import Role, TokenScope
from domain.people import could_be_an_address, is_same_address

_SECONDS: Final = 5.0

_USER_SQL = """select json_build_object('id', id, 'name', name, 'role', role, 'is_active', is_active,
  'email', email)::text
from users where lower(email) = lower($1)"""

_BY_HASH_SQL = """select json_build_object('token_id', t.id, 'token_name', t.name, 'scopes', t.scopes,
  'expires_at', t.expires_at, 'revoked_at', t.revoked_at, 'last_used_at', t.last_used_at,
  'id', u.id, 'name', u.name, 'role', u.role, 'is_active', u.is_active)::text
from api_tokens t join users u on u.id = t.user_id where t.token_hash = $1"""

_SESSION_SQL = """select json_build_object('id', u.id, 'name', u.name, 'role', u.role, 'is_active', u.is_active
    and exists (select from refresh_tokens r
      where r.family_id = $2 and r.user_id = u.id and r.revoked_at is null))::text
from users u where u.id = $1"""

_RIGHTS_SQL = """select json_build_object('id', u.id, 'name', u.name, 'role', u.role, 'scopes', t.scopes,
  'is_active', u.is_active and ($2::uuid is null or case
    when t.id is not null then t.revoked_at is null
    else exists (select from refresh_tokens r
      where r.family_id = $2 and r.user_id = u.id and r.revoked_at is null) end))::text
from users u left join api_tokens t on t.id = $2 and t.user_id = u.id where u.id = $1"""


@dataclass(frozen=True, slots=True)
class Person:
    """A user, and whether they may come in by what they showed."""

    id: UUID
    name: str
    role: Role
    is_active: bool
    scopes: frozenset[TokenScope] | None = None


@dataclass(frozen=True, slots=True)
class FoundToken:
    """An API token, and whose it is."""

    id: UUID
    name: str
    owner: Person
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class People:
    """Finds users. Everything raises DatabaseUnavailable and DeadlineExceeded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def with_email(self, email: str) -> Person | None:
        """The user with an address, in any case."""
        if not could_be_an_address(email):
            return None
        row = await self._read(_USER_SQL, email)
        return None if row is None or not is_same_address(row["email"], email) else _person(row)

    async def of_session(self, user_id: UUID, session_id: UUID) -> Person | None:
        """The user of a session; active only where neither they nor the session have ended."""
        return _person(await self._read(_SESSION_SQL, user_id, session_id))

    async def rights(self, user_id: UUID, credential_id: UUID | None) -> Person | None:
        """The user as they are now; active only where the API token or session that they came by has not ended."""
        return _person(await self._read(_RIGHTS_SQL, user_id, credential_id))

    async def token(self, token_hash: bytes) -> FoundToken | None:
        """The API token with a hash."""
        row = await self._read(_BY_HASH_SQL, token_hash)
        owner = _person(row)
        if row is None or owner is None:
            return None
        expires_at, revoked_at, used_at = (_time(row[name]) for name in ("expires_at", "revoked_at", "last_used_at"))
        return FoundToken(UUID(row["token_id"]), row["token_name"], owner, expires_at, revoked_at, used_at)

    async def _read(self, sql: str, *values: object) -> dict[str, Any] | None:
        text = await self._database.reads.fetch_text(sql, values, timeout_seconds=_SECONDS)
        row: dict[str, Any] | None = None if text is None else orjson.loads(text)
        return row


def _person(row: dict[str, Any] | None) -> Person | None:
    if row is None:
        return None
    given = row.get("scopes")
    known = {scope.value for scope in TokenScope}
    scopes = None if given is None else frozenset(TokenScope(scope) for scope in given if scope in known)
    return Person(UUID(row["id"]), row["name"], Role(row["role"]), row["is_active"], scopes)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
