"""How Alembic runs our migrations: on the connection that `migrations.upgrade` opened for it."""

from alembic import context
from sqlalchemy.dialects.postgresql.base import ischema_names

import migrations.enums  # noqa: F401  # teaches Alembic to compare the labels of enums
from db.outbox import Xid8
from db.tables import metadata

ischema_names["xid8"] = Xid8  # SQLAlchemy does not recognise it in a database.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    compare_server_default=True,
    transaction_per_migration=True,
    on_version_apply=context.config.attributes.get("on_version_apply", ()),
)
with context.begin_transaction():
    context.run_migrations()
