"""Reliability Studio: one GraphQL endpoint for reliability work."""
