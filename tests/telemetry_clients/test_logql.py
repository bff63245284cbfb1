"""LogQL from untrusted parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_clients.errors import TelemetryBadQuery
from telemetry_clients.loki import logql

ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


def unquoted(literal: str) -> str:
    """What Go's strconv.Unquote makes of a literal in double quotes."""
    assert literal[0] == literal[-1] == '"'
    assert "\n" not in literal
    characters, rest = [], literal[1:-1]
    while rest:
        if rest[0] == "\\":
            width = {"u": 4, "U": 8}.get(rest[1], 0)
            characters.append(chr(int(rest[2 : 2 + width], 16)) if width else ESCAPES[rest[1]])
            rest = rest[2 + width :]
        else:
            assert rest[0] != '"'
            characters.append(rest[0])
            rest = rest[1:]
    return "".join(characters)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_out_of_its_literal_as_it_went_in(text):
    assert unquoted(logql.quoted(text)) == text
    assert unquoted(logql.containing(text).removeprefix("|= ")) == text


def test_a_hostile_service_name_stays_a_value():
    hostile = 'a"} or {x="'
    assert logql.selector({"app": hostile}) == r'{app="a\"} or {x=\""}'
    assert logql.selector({"app": ["b", hostile]}) == r'{app=~"a\"\\} or \\{x=\"|b"}'


def test_several_values_are_one_matcher_and_their_signs_are_literal():
    assert logql.selector({"job": "x", "app": {"b.c", "a|d"}}) == r'{app=~"a\\|d|b\\.c",job="x"}'


@pytest.mark.parametrize("labels", [{}, {"app": ""}, {"app": []}, {"app": ["a", ""]}, {'a"': "b"}, {"": "b"}])
def test_selectors_that_would_match_too_much_are_refused(labels):
    with pytest.raises(TelemetryBadQuery) as raised:
        logql.selector(labels)
    assert raised.value.backend == "Loki"


def test_a_lone_surrogate_is_refused():
    with pytest.raises(TelemetryBadQuery):
        logql.quoted("\ud800")


def test_filters_are_written_out():
    assert logql.labelled("detected_level", "error|") == '| detected_level=~"error|"'
    assert logql.like(['took <_> "ms"', "b"]) == r'|> "took <_> \"ms\"" or "b"'
