"""Signing in to the explorer, in a real browser."""

import pytest

from app.http.explorer import DIST
from tests.node.fixtures import Node
from tests.security.signing import ADA, PASSWORD
from tests.servers import ServerProcess


async def test_a_person_signs_in_and_the_browser_keeps_no_token(
    node: Node, chromium: str, closed_server: ServerProcess
) -> None:
    if not (DIST / "index.html").exists():
        pytest.skip("the explorer is not built; run: make explorer")
    seen = await node.run("sign_in.mjs", chromium, closed_server.url, ADA, PASSWORD)

    assert seen["refusal"] == "The email or the password is wrong"
    assert seen["answered"] == {"data": {"viewer": {"name": "Ada"}}}
    assert seen["cookies"] == []
    assert "eyJ" not in seen["kept"]
    assert "rsr_" not in seen["kept"]
