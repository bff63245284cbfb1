"""Templates of log lines."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.telemetry import LogLevel
from engines.log_templates import LogTemplates, mask

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def found(lines: list[str], **options: int) -> dict[str, int]:
    templates = LogTemplates(**options)
    templates.add_all((at(i), line) for i, line in enumerate(lines))
    return {template.text: template.count for template in templates}


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("took 12.5ms for 3 items", "took <_> for <_> items"),
        ("took 1m30.5s, 45% of -7", "took <_>, <_> of <_>"),
        ("from 10.0.12.7:8080 to fe80::1ff:fe23:4567:890a", "from <_> to <_>"),
        ("order 7b0e9f4e-9c1b-4b8e-8f53-0d3a8e5f2a10 done", "order <_> done"),
        ("at 2026-11-23T10:00:00.123Z and 10:00:01", "at <_> and <_>"),
        ("pointer 0xc000 commit 4f2a9c1 trace a748dbcfac619e630dde29a6baa4b71a", "pointer <_> commit <_> trace <_>"),
        ("read 16KiB at 3MB/s", "read <_> at <_>/s"),
        ("path=/items/1713 user=3408 processor=pay-3", "path=/items/<_> user=<_> processor=pay-<_>"),
        ("feed the decade v2 utf8 facade", "feed the decade v2 utf8 facade"),
        ("panic: x\ngoroutine 1", "panic: x"),
        (
            "12:00:01 INFO s.o.OrderService#42 order shop.Order#1234567",
            "<_> INFO s.o.OrderService#42 order shop.Order#<_>",
        ),
        ("I0112 1 pay/card.go:77] took 5ms from db.local:5432", "I0112 <_> pay/card.go:77] took <_> from db.local:<_>"),
    ],
)
def test_what_varies_by_its_nature_is_masked(line, masked):
    assert mask(line) == masked


def test_statements_at_different_places_in_the_code_are_kept_apart_however_alike_they_are():
    lines = [f"INFO t.s.TravelService#{place} [tickets] distance is {i} km" for i in range(5) for place in (451, 457)]
    assert found(lines) == {
        "INFO t.s.TravelService#451 [tickets] distance is <_> km": 5,
        "INFO t.s.TravelService#457 [tickets] distance is <_> km": 5,
    }


def test_lines_of_one_statement_are_one_template():
    lines = [
        f'level=error msg="card processor timed out" processor=pay-{i % 3} timeout_ms=2000 order={i}' for i in range(20)
    ] + [f'level=info msg="request handled" method=GET path=/items/{i} user={i}' for i in range(30)]
    assert found(lines) == {
        'level=info msg="request handled" method=GET path=/items/<_> user=<_>': 30,
        'level=error msg="card processor timed out" processor=pay-<_> timeout_ms=<_> order=<_>': 20,
    }


def test_words_that_differ_become_anything_where_the_rest_agrees():
    lines = [f"user {name} logged in from the web shop" for name in ("ada", "bob", "eve")]
    assert found(lines) == {"user <_> logged in from the web shop": 3}
    compact = [f'{{"event":"login","user":"{name}","shop":"web","ok":true}}' for name in ("ada", "bob")]
    assert found(compact) == {'{"event":"login","user":<_>,"shop":"web","ok":true}': 2}


def test_no_two_templates_are_the_same():
    lines = ["a b c d", "a b x y", "a q x d", "a b c y", "a q c y", "a b x d"] * 3
    templates = LogTemplates(similar=0.6)
    templates.add_all((at(i), line) for i, line in enumerate(lines))
    texts = [template.text for template in templates]
    assert len(texts) == len(set(texts))
    assert sum(template.count for template in templates) == len(lines)


def test_levels_are_kept_apart():
    templates = LogTemplates()
    templates.add(at(0), "disk is full", LogLevel.WARN)
    templates.add(at(1), "disk is full", LogLevel.ERROR)
    assert [(template.level, template.count) for template in templates] in (
        [(LogLevel.WARN, 1), (LogLevel.ERROR, 1)],
        [(LogLevel.ERROR, 1), (LogLevel.WARN, 1)],
    )


def test_a_template_knows_when_and_how_it_was_seen_even_backward():
    templates = LogTemplates(bucket_seconds=60)
    for seconds in (300, 30, 100, 110):
        templates.add(at(seconds), f"took {seconds} ms")
    [template] = templates
    assert (template.first_seen_at, template.last_seen_at) == (at(30), at(300))
    assert (template.sample, template.sample_at) == ("took 300 ms", at(300))
    assert dict(template.counts) == {
        int(at(300).timestamp()): 1,
        int(at(0).timestamp()): 1,
        int(at(60).timestamp()): 2,
    }


def test_what_was_not_seen_before_is_new():
    templates = LogTemplates()
    templates.add_all([(at(0), "request handled"), (at(10), "connection refused"), (at(11), "request handled")])
    assert [template.text for template in templates.since(at(5))] == ["connection refused"]


def test_an_id_stays_when_the_template_becomes_more_general():
    templates = LogTemplates()
    first = templates.add(at(0), "user ada logged in").id
    assert templates.add(at(1), "user bob logged in").id == first
    assert templates.add(at(2), "user ada logged in").id == first


def moved(*lines: str) -> dict[str, int]:
    templates = LogTemplates(bucket_seconds=60)
    templates.add_all((at(i), line) for i, line in enumerate(lines))
    templates.unite_moved()
    return {template.text: template.count for template in templates}


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("pay/card.go:77] card 7 refused", "pay/card.go:81] card 8 refused", "pay/card.go:<_>] card <_> refused"),
        ("s.o.Orders#42 order lost", "s.o.Orders#45 order lost", "s.o.Orders#<_> order lost"),
        ("at shop.Orders.pay(Orders.java:42)", "at shop.Orders.pay(Orders.java:45)", None),
    ],
)
def test_a_statement_that_an_edit_moved_is_no_new_one(before: str, after: str, text: str | None):
    templates = LogTemplates()
    templates.add_all([(at(0), before), (at(1), before), (at(10), after)])
    first = next(iter(templates))
    templates.unite_moved()
    [template] = templates
    assert (template.id, template.count, template.first_seen_at) == (first.id, 3, at(0))
    assert templates.since(at(5)) == []
    assert template.text == (text or "at shop.Orders.pay(Orders.java:<_>)")
    templates.add(at(20), after)
    templates.unite_moved()
    assert [(one.id, one.count) for one in templates] == [(first.id, 4)]


def test_a_statement_that_varied_before_it_was_moved_is_known_by_the_rest_of_it():
    before = [f"pay/card.go:77] card of {name} was refused" for name in ("ada", "bob")]
    assert moved(*before, "pay/card.go:81] card of eve was refused") == {"pay/card.go:<_>] card of <_> was refused": 3}


def test_statements_that_say_the_same_in_turn_are_two():
    first, second = "pay/card.go:77] refused", "pay/card.go:81] refused"
    assert moved(first, second, first) == {first: 2, second: 1}


def test_a_statement_that_says_something_else_or_lies_in_another_file_has_not_moved():
    assert len(moved("pay/card.go:77] card was refused", "pay/card.go:81] bank is away")) == 2
    assert len(moved("pay/card.go:77] card was refused", "pay/bank.go:81] card was refused")) == 2


words = st.lists(st.sampled_from(["a", "b", "c", "7", "x=1", "d,", "\n", "<_>"]), max_size=8).map(" ".join)


@given(lines=st.lists(words, max_size=60), cut=st.integers(0, 60), most=st.integers(1, 12))
def test_the_same_lines_give_the_same_templates_in_any_portions_and_in_bounded_memory(lines, cut, most):
    timed = [(at(i), line) for i, line in enumerate(lines)]
    whole, portions = (LogTemplates(most=most, most_children=2, most_candidates=3) for _ in range(2))
    whole.add_all(timed)
    portions.add_all(timed[:cut])
    portions.add_all(timed[cut:])
    described = [
        [(template.id, template.text, template.count, template.sample) for template in templates]
        for templates in (whole, portions)
    ]
    assert described[0] == described[1]
    assert len(whole) <= most
    assert sum(template.count for template in whole) + whole.forgotten == len(lines)


def test_a_hundred_thousand_different_lines_take_no_more_room_than_allowed():
    templates = LogTemplates(most=50)
    for i in range(20_000):
        word = "".join(chr(97 + int(digit)) for digit in str(i))
        templates.add(at(i), f"{word} {word}x {word}y")
    assert len(templates) == 50
    assert templates.forgotten == 20_000 - sum(template.count for template in templates)
    assert len(templates._leaves) <= 50
    assert len(templates._children) <= 2 * 50 + 2


def test_a_line_without_an_end_costs_what_an_ordinary_one_does():
    [template] = [LogTemplates().add(at(0), "word " * 1_000_000)]
    assert len(template.text) < 1_000
