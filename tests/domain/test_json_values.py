"""What labels and JSON objects are kept."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ValidationFailed
from domain.json_values import json_object, labels


def nested(levels: int) -> dict:
    inner: dict = {}
    for _ in range(levels):
        inner = {"a": inner}
    return inner


def test_labels_are_names_and_texts():
    assert labels({" team ": "payments", "empty": ""}, "Labels", "labels") == {"team": "payments", "empty": ""}
    assert labels(None, "Labels", "labels") == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "Labels must be an object of names and texts"),
        ({"replicas": 3}, 'Label "replicas" must be text'),
        ({"nested": {}}, 'Label "nested" must be text'),
        ({"": "x"}, "Label name is required"),
        ({"x" * 101: ""}, "Label name is longer than 100 characters"),
        ({"x": "y" * 1001}, 'Label "x" is longer than 1000 characters'),
        ({"x": "\0"}, 'Label "x" holds a NUL character'),
        ({"x": "1", " x": "2"}, 'Label "x" is given twice'),
        ({str(i): "" for i in range(65)}, "Labels are more than 64"),
    ],
)
def test_other_labels_are_refused(given, message):
    with pytest.raises(ValidationFailed) as refusal:
        labels(given, "Labels", "labels")
    assert refusal.value.message == message
    assert refusal.value.path[0] == "labels"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("text", "Findings must be an object"),
        ({"x": math.nan}, "Findings holds a number that is too large"),
        ({"x": 2**63}, "Findings holds a number that is too large"),
        ({"x": 10**5000}, "Findings holds a number that is too large"),
        ({"x": ["\ud800"]}, "Findings is not valid Unicode: it holds half of a surrogate pair"),
        ({"\0": 1}, "Findings holds a NUL character"),
        ({"x": object()}, "Findings must be JSON"),
        ({"x": "y" * 63_999}, "Findings is larger than 64000 bytes"),
        (nested(33), "Findings is nested deeper than 32 levels"),
        (nested(5000), "Findings is nested deeper than 32 levels"),
    ],
)
def test_what_json_or_postgres_cannot_hold_is_refused(given, message):
    with pytest.raises(ValidationFailed) as refusal:
        json_object(given, "Findings", "findings")
    assert refusal.value.message == message


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=5))
def test_whatever_is_kept_comes_back_the_same(given):
    try:
        kept = json_object(given, "Findings", "findings")
    except ValidationFailed:
        return
    assert orjson.loads(orjson.dumps(kept)) == given
