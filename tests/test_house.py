"""The rules of the house that no linter knows."""

import ast
import importlib.metadata
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LONGEST_FILE_LINES = 500
SILENCED = re.compile(r"#\s*(type: ignore|noqa)")
EXPLAINED = re.compile(r"#\s*(type: ignore\[[\w, -]+\]|noqa: [A-Z]+\d+(, [A-Z]+\d+)*)\s+# \w")
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]


def tracked(*patterns: str) -> list[Path]:
    """The files that git knows, or would know."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is no git checkout, whose files could be listed")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def product() -> Iterator[tuple[str, ast.Module]]:
    """The modules of the product, parsed."""
    for path in tracked("*.py"):
        place = path.relative_to(ROOT)
        if place.parts[0] in PACKAGES:
            yield str(place), ast.parse(path.read_text())


def test_no_file_is_so_long_that_it_holds_two_ideas():
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in tracked("*.py", "*.mjs")}
    assert {place: count for place, count in lines.items() if count > LONGEST_FILE_LINES} == {}


def test_transactions_begin_and_end_in_one_place():
    def ends_transaction(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"commit", "rollback", "begin_nested"}
        )

    found = {place for place, module in product() for node in ast.walk(module) if ends_transaction(node)}
    assert found <= {"db/database.py"}


def test_only_the_settings_read_the_environment():
    def reads_environment(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}

    found = {place for place, module in product() for node in ast.walk(module) if reads_environment(node)}
    assert found <= {"app/settings.py"}


def test_rules_and_writes_are_told_the_time():
    def reads_clock(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Attribute)
            and node.attr in {"now", "utcnow", "today"}
            and _name(node.value) in {"datetime", "date"}
        )

    told = ("domain/", "engines/", "actions/")
    found = {
        place for place, module in product() if place.startswith(told) for node in ast.walk(module) if reads_clock(node)
    }
    assert found == set()


def test_whatever_is_silenced_says_what_and_why():
    unexplained = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("*.py")
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if SILENCED.search(line) and not EXPLAINED.search(line)
    ]
    assert unexplained == []


def test_the_readme_shows_the_examples_as_they_are_tested():
    readme = (ROOT / "README.md").read_text()
    for example in sorted((ROOT / "docs" / "examples").iterdir()):
        assert example.read_text().rstrip() in readme, example.name


def test_no_dependency_owns_one_of_our_names():
    owners = importlib.metadata.packages_distributions()
    foreign = {
        name: others
        for name in [*PACKAGES, "migrations"]
        if (others := set(owners.get(name, ())) - {"reliability-studio"})
    }
    assert foreign == {}


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
