"""Teams, users and who belongs to what."""

from sqlalchemy import Boolean, Column, Index, Table, Text, func, text

from db.columns import changed, enum, id_column, name, prose, reference, timestamp
from db.metadata import metadata
from domain.access import Role

teams = Table("teams", metadata, id_column(), *name(), *prose("description"), *changed())
Index("uq_teams_name", func.lower(teams.c.name), unique=True)

users = Table(
    "users",
    metadata,
    id_column(),
    *name("email"),
    *name(),
    enum("role", Role, default=Role.VIEWER),
    Column("password_hash", Text),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    *changed(),
)
Index("uq_users_email", func.lower(users.c.email), unique=True)

team_members = Table(
    "team_members",
    metadata,
    reference("team_id", "teams.id", on_delete="CASCADE", primary_key=True),
    reference("user_id", "users.id", on_delete="CASCADE", primary_key=True),
    timestamp("since"),
    Index(None, "user_id"),
)
