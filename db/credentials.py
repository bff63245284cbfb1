"""Credentials. Of secrets only hashes are stored, but for the one that signs access tokens where none is set."""

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from db.columns import id_column, name, reference, timestamp
from db.metadata import metadata

api_tokens = Table(
    "api_tokens",
    metadata,
    id_column(),
    reference("user_id", "users.id", on_delete="CASCADE"),
    *name(),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    timestamp("created_at"),
    timestamp("expires_at", nullable=True),
    timestamp("last_used_at", nullable=True),
    timestamp("revoked_at", nullable=True),
    Index(None, "user_id"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    id_column(),
    reference("user_id", "users.id", on_delete="CASCADE"),
    Column("family_id", id_column().type, nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    timestamp("created_at"),
    timestamp("expires_at"),
    timestamp("used_at", nullable=True),
    timestamp("revoked_at", nullable=True),
    Index(None, "user_id"),
    Index(None, "family_id"),
    Index(None, "expires_at"),
)

RIGHTS_CHANNEL = "rights"
"""Where triggers tell the ids of users whose rights have changed, when the transaction ends that changed them."""

signing_keys = Table(
    "signing_keys",
    metadata,
    *name(primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    timestamp("created_at"),
)

sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("attempts", Integer, nullable=False),
    timestamp("since"),
    Index(None, "since"),
)
