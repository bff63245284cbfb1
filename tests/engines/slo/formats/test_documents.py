"""Texts that nobody should be able to hurt the server with, refused with the place."""

import pytest

from engines.slo.formats import documents
from engines.slo.formats.documents import Mapping, UnreadableText
from engines.slo.formats.reader import read

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (BOMB, 'The anchor "&a" is not read', 1),
        ("a: 1\nb: *a\n", 'The alias "*a" is not followed', 2),
        ("a: 1\nb: !!python/object/apply:os.system [ls]\n", 'The tag "tag:yaml.org,2002:python/object', 2),
        ("a: !mine x\n", 'The tag "!mine" is not read', 1),
        ("a: 1\nb: 2\na: 3\n", 'The key "a" is given twice, first in line 1', 3),
        ("a: [1, 2\nb: 3\n", "This is not YAML: ", 2),
        ("a: b: c\n", "This is not YAML: ", 1),
        ("? [a]\n: b\n", "A key must be a text", 1),
        ("\x00", "This is not YAML: ", 1),
        ("x: " + "[" * 100 + "]" * 100, "This is nested deeper than 40 levels", 1),
        ("---\n" * 5_001 + "a: 1\n", "There are more than 5000 documents", 5001),
        ("a" * 10_000_001, "The text is larger than 10 MB", 1),
    ],
)
def test_what_is_refused_is_named_with_its_line(text: str, message: str, line: int):
    with pytest.raises(UnreadableText) as refused:
        documents.read(text)
    assert refused.value.message.startswith(message)
    assert refused.value.line == line
    [problem] = read(text).problems
    assert problem.message == refused.value.message


def test_more_values_than_any_file_has_are_refused():
    with pytest.raises(UnreadableText, match="There are more than 500000 values: import them in parts"):
        documents.read("[" + "1," * 500_001 + "]")


def test_json_is_read_as_yaml_and_empty_documents_are_passed_over():
    found = documents.read('---\n---\n{"a": {"b": [1, "2"]}}\n---\n# nothing\n---\nc: d\n')
    assert [document.number for document in found] == [2, 4]
    assert isinstance(found[0].root, Mapping)
    assert list(found[0].root.members) == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is nothing in this text"),
        ("just words", "must be an object"),
        ("kind: Pod\napiVersion: v1\n", 'apiVersion "v1", kind "Pod" is not known; these are: "openslo/v1", '),
        ("apiVersion: openslo/v2alpha\nkind: SLO\n", 'apiVersion "openslo/v2alpha", kind "SLO" is not known'),
        ("apiVersion: openslo/v1\nkind: SLOs\n", "must be one of DataSource, SLO, SLI, AlertPolicy, AlertCondition"),
        ("version: prometheus/v2\n", 'version "prometheus/v2" is not known'),
        ("slos: []\n", "says neither apiVersion nor version"),
        ("apiVersion: pyrra.dev/v1alpha1\nkind: SLO\n", "must be one of ServiceLevelObjective"),
    ],
)
def test_wrong_kinds_and_versions_are_named(text: str, message: str):
    assert read(text).problems[0].message.startswith(message)
