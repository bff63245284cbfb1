"""Which programs can run on the tables as they are: what a newer program leaves behind for an older one."""

from sqlalchemy import CheckConstraint, Column, SmallInteger, Table, Text, text

from db.metadata import metadata

schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, server_default=text("1")),
    # Programs that know this revision can run on the tables, whatever has been migrated since.
    Column("oldest_revision", Text, nullable=False),
    CheckConstraint("id = 1", name="single_row"),
)
