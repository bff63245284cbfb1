"""`python -m deploy.demo_shop`."""

from deploy.demo_shop.cli import cli

cli()
