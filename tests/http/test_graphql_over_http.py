"""The GraphQL over HTTP specification, as the reference implementation's own audits read it."""

from tests.node.fixtures import Node

AUDITS = 61


async def test_every_audit_of_graphql_over_http_passes(node: Node, server_url: str) -> None:
    results = await node.run("audit.mjs", f"{server_url}/graphql")

    failed = [f"{audit['id']} {audit['name']}: {audit.get('reason')}" for audit in results if audit["status"] != "ok"]
    assert not failed, "\n".join([f"{len(failed)} of {len(results)} audits failed:", *failed])
    assert len(results) == AUDITS
