"""`python -m deploy.stack`."""

from deploy.stack.cli import cli

cli()
