"""What we depend on, and what SECURITY.md says of all this."""

import re

import pytest

from tests.servers import ROOT

LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-dev.lock", ROOT / "explorer" / "requirements.lock"]
NAMED = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", (ROOT / "SECURITY.md").read_text())


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_every_dependency_is_locked_with_its_hash(lock) -> None:
    entries = re.split(r"\n(?=[\w.\[\]-]+==)", lock.read_text())

    assert entries
    for entry in entries:
        assert re.match(r"\s*[\w.\[\]-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_every_test_that_the_security_page_names_is_there(file: str, test: str) -> None:
    path = ROOT / "tests" / file

    assert path.exists()
    assert not test or re.search(rf"def {test}\(", path.read_text()), f"{file} has no {test}"


def test_the_security_page_names_a_test_in_every_row() -> None:
    rows = [line for line in (ROOT / "SECURITY.md").read_text().split("line by line", 1)[1].splitlines() if "|" in line]
    claims = [row for row in rows if not row.startswith(("|---", "| it asks", "| plugin", "| attack"))]

    assert len(claims) > 60
    assert [row for row in claims if not re.search(r"`[\w/]+\.py(::\w+)?`", row)] == []
