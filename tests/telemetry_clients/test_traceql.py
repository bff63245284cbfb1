"""TraceQL from untrusted text: nothing that a name holds can change the query around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_clients.errors import TelemetryBadQuery
from telemetry_clients.tempo import traceql
from tests.telemetry_clients.tempo_server import unescaped


def read_string(query: str, start: int) -> tuple[str, int]:
    """The string literal at `start` as Go's scanner reads it, and where it ends."""
    assert query[start] == '"'
    end = start + 1
    while query[end] != '"':
        assert query[end].isprintable(), "Go's scanner ends a string at a line break"
        end += 2 if query[end] == "\\" else 1
    return query[start : end + 1], end + 1


def test_a_service_with_a_hostile_name_stays_one_string():
    assert traceql.spans_of(['a"} || {x="']) == '{ resource.service.name = "a\\"} || {x=\\"" }'


def test_conditions_are_joined_for_all_services_in_one_query():
    query = traceql.spans_of(["b", "a", "b"], errors_only=True, min_duration_seconds=1.5, max_duration_seconds=60)

    assert query == (
        '{ (resource.service.name = "a" || resource.service.name = "b") && status = error'
        " && traceDuration >= 1500ms && traceDuration <= 60000ms }"
    )


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_is_read_back_as_it_was(name):
    query = traceql.spans_of([name])
    prefix = "{ resource.service.name = "
    literal, end = read_string(query, len(prefix))

    assert query[end:] == " }"
    assert unescaped(literal[1:-1]) == name


@pytest.mark.parametrize("services", [[], [""], ["a", ""], ["\ud800"]])
def test_what_names_no_service_is_refused(services):
    with pytest.raises(TelemetryBadQuery):
        traceql.spans_of(services)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_durations_that_are_none_are_refused(seconds):
    with pytest.raises(TelemetryBadQuery):
        traceql.duration(seconds)


def test_durations_keep_their_microseconds():
    assert [traceql.duration(seconds) for seconds in (0, 0.0005, 2)] == ["0ms", "500us", "2000ms"]
