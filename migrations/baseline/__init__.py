"""What revision 0001 makes. It never changes: later changes are later migrations, and nothing here follows `db`."""
