"""What a client gets wrong, and is told: the same whether or not the compiler could read the document."""

import base64
from typing import Any

import orjson
import pytest

from tests.resolvers.awkward_rows import awkward_rows
from tests.resolvers.client import Client, ordered

INCIDENT = str(awkward_rows()["incidents"][0]["id"])
TOTALS = "incidents({}) {{ totalCount }}"


def cursor(*place: Any) -> str:
    """A cursor that no page of ours carried."""
    return base64.b64encode(orjson.dumps(place)).decode()


async def refused(client: Client, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    """The one error of a document, on which both ways of execution agree."""
    answer = await client.answer(query, variables)
    assert ordered(answer) == ordered(await client.ordinary(query, variables))
    errors = orjson.loads(answer)["errors"]
    assert len(errors) == 1
    error: dict[str, Any] = errors[0]
    return error


@pytest.mark.parametrize(
    "place",
    [
        "",
        "garbage",
        "Ünïcode",
        "=" * 1000,
        base64.b64encode(b"\xff\xfe").decode(),
        base64.b64encode(b'"abc"').decode(),
        base64.b64encode(b'{"a": 1, "b": 2, "c": 3}').decode(),
        cursor(),
        cursor("STARTED_AT"),
        cursor("STARTED_AT", "2026-03-01T00:00:00+00:00", INCIDENT, 1),
        cursor("STARTED_AT", "2026-03-01T00:00:00", INCIDENT),
        cursor("STARTED_AT", "0001-01-01T00:00:00+14:00", INCIDENT),
        cursor("STARTED_AT", "yesterday", INCIDENT),
        cursor("STARTED_AT", 5, INCIDENT),
        cursor("STARTED_AT", None, INCIDENT),
        cursor("STARTED_AT", "2026-03-01T00:00:00+00:00", "no id"),
        cursor("STARTED_AT", "2026-03-01T00:00:00+00:00", 7),
        cursor("NOWHERE", "2026-03-01T00:00:00+00:00", INCIDENT),
    ],
)
async def test_a_cursor_that_no_page_carried_is_refused(client: Client, place: str):
    query = "query ($after: String) { incidents(after: $after) { totalCount } }"
    error = await refused(client, query, {"after": place})
    assert error["message"] == "`after` is not a cursor of this list"
    assert error["path"] == ["incidents"]
    assert error["extensions"] == {"code": "INVALID_CURSOR", "argumentPath": ["after"]}


@pytest.mark.parametrize(
    ("name", "order", "value"),
    [
        ("incidents", "NUMBER", 2**31),
        ("incidents", "NUMBER", 1.5),
        ("incidents", "NUMBER", True),
        ("incidents", "SEVERITY", "DIRE"),
        ("services", "NAME", "NUL \0"),
        ("slos", "OBJECTIVE", "NaN"),
        ("slos", "OBJECTIVE", "1e9"),
        ("slos", "OBJECTIVE", 0.5),
    ],
)
async def test_a_cursor_with_a_value_that_its_order_cannot_have_is_refused(
    client: Client, name: str, order: str, value: Any
):
    by = f"orderBy: {{field: {order}, direction: ASC}}"
    query = f"query ($after: String) {{ {name}({by}, after: $after) {{ totalCount }} }}"
    error = await refused(client, query, {"after": cursor(order, value, INCIDENT)})
    assert error["extensions"] == {"code": "INVALID_CURSOR", "argumentPath": ["after"]}


async def test_a_cursor_of_another_order_is_told_apart(client: Client):
    query = "query ($before: String) { incidents(last: 1, before: $before) { nodes { id } } }"
    error = await refused(client, query, {"before": cursor("NUMBER", 1, INCIDENT)})
    assert error["message"] == "`before` is a cursor of a list ordered by NUMBER, not by STARTED_AT"
    assert error["extensions"]["code"] == "INVALID_CURSOR"


@pytest.mark.parametrize(
    ("size", "message", "path"),
    [
        ({"first": 1, "last": 1}, "Ask for `first` or for `last`, not for both", ["last"]),
        ({"first": 0, "last": 0}, "Ask for `first` or for `last`, not for both", ["last"]),
        ({"first": -1}, "`first` must be between 0 and 200", ["first"]),
        ({"first": 201}, "`first` must be between 0 and 200", ["first"]),
        ({"last": -(2**31)}, "`last` must be between 0 and 200", ["last"]),
        ({"last": 201}, "`last` must be between 0 and 200", ["last"]),
    ],
)
@pytest.mark.parametrize("selection", ["totalCount", "__typename", "nodes { id }", "pageInfo { hasNextPage }"])
async def test_a_page_of_a_wrong_size_is_refused_whatever_is_asked_of_it(
    client: Client, size: dict[str, int], message: str, path: list[str], selection: str
):
    literals = ", ".join(f"{name}: {value}" for name, value in size.items())
    declared = ", ".join(f"${name}: Int" for name in size)
    used = ", ".join(f"{name}: ${name}" for name in size)
    beside = "services { totalCount }"
    for query in (
        f"{{ {beside} incidents({literals}) {{ {selection} }} }}",
        f"query ({declared}) {{ {beside} incidents({used}) {{ {selection} }} }}",
    ):
        error = await refused(client, query, size)
        assert error["message"] == message
        assert error["path"] == ["incidents"]
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "argumentPath": path}


@pytest.mark.parametrize(
    ("start", "end", "seconds", "path"),
    [
        ("2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z", None, ["range"]),
        ("2026-03-01T01:00:00+01:00", "2026-03-01T00:00:00Z", 60, ["range"]),
        ("2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z", None, ["bucketSeconds"]),
        ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", 86, ["bucketSeconds"]),
        ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", 0, ["bucketSeconds"]),
        ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", -60, ["bucketSeconds"]),
    ],
)
@pytest.mark.parametrize("selection", ["count", "__typename", "buckets { count }", "bySeverity { count }"])
async def test_a_range_that_is_none_or_has_too_many_buckets_is_refused(
    client: Client, start: str, end: str, seconds: int | None, path: list[str], selection: str
):
    query = f"""query ($range: TimeRange!, $seconds: Int) {{
      services {{ totalCount }}
      incidentStatistics(range: $range, bucketSeconds: $seconds) {{ {selection} }}
    }}"""
    error = await refused(client, query, {"range": {"from": start, "to": end}, "seconds": seconds})
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argumentPath": path}


async def test_the_longest_range_there_is_has_few_enough_of_the_longest_buckets(client: Client):
    query = """{ incidentStatistics(range: {from: "0001-01-02T00:00:00Z", to: "9999-12-31T23:59:59Z"},
      bucketSeconds: 2147483647) { count buckets { startedAt count } } }"""
    answer = await client.compiled(query)
    assert ordered(answer) == ordered(await client.ordinary(query))
    statistics = orjson.loads(answer)["data"]["incidentStatistics"]
    assert sum(bucket["count"] for bucket in statistics["buckets"]) == statistics["count"] == 9


@pytest.mark.parametrize("id_", ["", "no id", "1", "\0", "\ud800", "x" * 10_000, "00000000-0000-0000-0000-00000000000"])
async def test_an_id_that_is_none_finds_nothing_and_is_no_mistake(client: Client, id_: str):
    query = """query ($id: ID!) {
      node(id: $id) { id } nodes(ids: [$id, $id]) { id } incident(id: $id) { id } service(id: $id) { id }
      alerts(filter: {incidentId: $id}) { totalCount }
    }"""
    answer = await client.compiled(query, {"id": id_})
    assert ordered(answer) == ordered(await client.ordinary(query, {"id": id_}))
    assert orjson.loads(answer)["data"] == {
        "node": None,
        "nodes": [None, None],
        "incident": None,
        "service": None,
        "alerts": {"totalCount": 0},
    }


@pytest.mark.parametrize("text", ["NUL \0 in it", "\ud800 alone", "\udfff"])
@pytest.mark.parametrize(
    "filter_", ["search: $text", "services: [$text]", "labels: {a: $text}", "labels: {a: [{b: $text}]}"]
)
async def test_text_that_postgres_cannot_hold_is_refused(client: Client, text: str, filter_: str):
    query = f"query ($text: String!) {{ incidents(filter: {{{filter_}}}) {{ totalCount }} }}"
    error = await refused(client, query, {"text": text})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_nul_in_the_name_of_a_label_is_refused_and_a_written_one_is_not(client: Client):
    query = "query ($labels: JSON) { incidents(filter: {labels: $labels}) { totalCount } }"
    error = await refused(client, query, {"labels": {"a": {"b\0": 1}}})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert (await client.ask(query, {"labels": {"a": "\\u0000"}}))["data"] == {"incidents": {"totalCount": 0}}


@pytest.mark.parametrize("labels", [[], "prod", 5, 1.5, True, [["env"]], {"env": {"env": {}}}, {}])
async def test_labels_that_are_no_flat_object_match_what_holds_them(client: Client, labels: Any):
    query = "query ($labels: JSON) { incidents(filter: {labels: $labels}) { totalCount nodes { id } } }"
    answer = await client.compiled(query, {"labels": labels})
    assert ordered(answer) == ordered(await client.ordinary(query, {"labels": labels}))
    assert orjson.loads(answer)["data"]["incidents"]["totalCount"] == (9 if labels == {} else 0)


@pytest.mark.parametrize(
    ("type_", "use", "value"),
    [
        ("Int", TOTALS.format("first: $x"), "many"),
        ("Int", TOTALS.format("first: $x"), 2**31),
        ("Int", TOTALS.format("first: $x"), 10**400),
        ("Int", TOTALS.format("first: $x"), 1.5),
        ("Int", TOTALS.format("first: $x"), [1, 2]),
        ("ID!", "incident(id: $x) { id }", None),
        ("ID!", "incident(id: $x) { id }", {"a": 1}),
        ("IncidentFilter", TOTALS.format("filter: $x"), {"unknown": 1}),
        ("IncidentFilter", TOTALS.format("filter: $x"), {"status": ["CLOSED"]}),
        ("IncidentFilter", TOTALS.format("filter: $x"), {"status": [None]}),
        ("IncidentFilter", TOTALS.format("filter: $x"), {"startedAfter": "2026-03-01T00:00:00"}),
        ("IncidentFilter", TOTALS.format("filter: $x"), "OPEN"),
        ("IncidentOrder", TOTALS.format("orderBy: $x"), {"field": "NUMBER"}),
        ("IncidentOrder", TOTALS.format("orderBy: $x"), {"field": "NUMBER", "direction": None}),
        ("Boolean!", "incidents @include(if: $x) { totalCount }", "true"),
        ("DateTime", TOTALS.format("filter: {startedAfter: $x}"), 5),
        ("DateTime", TOTALS.format("filter: {startedAfter: $x}"), "0001-01-01T00:00:00+14:00"),
        ("[String!]", TOTALS.format("filter: {services: $x}"), ["a", None]),
        ("Float", "incident(id: 1) { correlations(minScore: $x) { totalCount } }", "0.5"),
    ],
)
async def test_a_variable_of_the_wrong_type_is_a_mistake_of_the_request(
    client: Client, type_: str, use: str, value: Any
):
    error = await refused(client, f"query ($x: {type_}) {{ {use} }}", {"x": value})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "path" not in error


async def test_a_variable_that_is_required_and_missing_is_a_mistake_of_the_request(client: Client):
    error = await refused(client, "query ($x: ID!) { incident(id: $x) { id } }", {})
    assert "$x" in error["message"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "path" not in error


@pytest.mark.parametrize(
    ("declaration", "use", "path"),
    [
        ('$x: ID = "a"', "incident(id: $x) { id }", ["incident"]),
        ("$x: IncidentOrderField = NUMBER", TOTALS.format("orderBy: {field: $x, direction: ASC}"), ["incidents"]),
        ("$x: IncidentStatus = OPEN", TOTALS.format("filter: {status: [OPEN, $x]}"), ["incidents"]),
        ("$x: Boolean = true", "incidents { totalCount @include(if: $x) }", ["incidents"]),
        ("$x: Boolean = true", "incidents { totalCount @include(if: false) @skip(if: $x) }", ["incidents"]),
    ],
)
async def test_null_for_a_variable_with_a_default_is_refused_where_the_schema_says_non_null(
    client: Client, declaration: str, use: str, path: list[str]
):
    query = f"query ({declaration}) {{ {use} }}"
    error = await refused(client, query, {"x": None})
    assert error["path"] == path
    assert "errors" not in await client.ask(query, {})


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "-" + "9" * 400, "1e999", "1e9999999"])
@pytest.mark.parametrize("arguments", ["first: {}", "filter: {{labels: {{a: {}}}}}", "filter: {{labels: [{}]}}"])
async def test_a_number_beyond_measure_is_no_internal_error(client: Client, number: str, arguments: str):
    query = f"{{ {TOTALS.format(arguments.format(number))} }}"
    answer = await client.answer(query)
    assert ordered(answer) == ordered(await client.ordinary(query))
    assert b"INTERNAL_SERVER_ERROR" not in answer


async def test_json_may_be_deep_but_not_too_deep(client: Client):
    query = "query ($labels: JSON) { incidents(filter: {labels: $labels}) { totalCount } }"
    assert "errors" not in await client.ask(query, {"labels": _nested(240)})
    for levels in (300, 900):
        error = await refused(client, query, {"labels": _nested(levels)})
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


def _nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels // 2):
        value = {"a": [value]}
    return value
