"""What text is kept, and what is said about the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import text
from domain.errors import ValidationFailed
from domain.incidents import Severity


def refusal_of(check, *arguments, **options) -> str:
    with pytest.raises(ValidationFailed) as refusal:
        check(*arguments, "input", "field", **options)
    assert refusal.value.path == ("input", "field")
    return refusal.value.message


def test_a_line_loses_the_spaces_around_it():
    assert text.line("  Checkout is down \n", "Title", "title") == "Checkout is down"


@pytest.mark.parametrize("nothing", [None, "", "   ", "\n\t"])
def test_a_line_that_says_nothing_is_missing(nothing):
    assert refusal_of(text.line, nothing, "Title") == "Title is required"


def test_a_line_may_have_exactly_as_many_characters_as_the_table_holds():
    assert len(text.line("é" * 300, "Title", "title")) == 300
    assert refusal_of(text.line, "é" * 301, "Title") == "Title is longer than 300 characters"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a\0b", "Title holds a NUL character"),
        ("a\ud800b", "Title is not valid Unicode: it holds half of a surrogate pair"),
        ("two\nlines", "Title must be one line, without control characters"),
        ("\x1b[31mred", "Title must be one line, without control characters"),
        (5, "Title must be text"),
        (["a"], "Title must be text"),
    ],
)
def test_what_a_line_cannot_hold_is_named(given, message):
    assert refusal_of(text.line, given, "Title") == message


def test_prose_is_kept_as_it_was_written():
    assert text.prose("  * a list\n\n\tand code\n", "Note", "text") == "  * a list\n\n\tand code\n"


def test_prose_that_must_say_something_does_not_consist_of_spaces():
    assert refusal_of(text.required_prose, " \n ", "Reason") == "Reason is required"
    assert refusal_of(text.required_prose, "x" * 20_001, "Reason") == "Reason is longer than 20000 characters"


@pytest.mark.parametrize("link", ["https://example.org/run?book=1#now", "http://[::1]:8080/", "HTTPS://EXAMPLE.ORG"])
def test_links_that_a_browser_follows_are_kept(link):
    assert text.optional_url(link, "Runbook", "runbookUrl") == link


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "ftp://example.org",
        "example.org/runbook",
        "https://",
        "https://exa mple.org",
        "https://example.org:port/",
        "https://[::1",
        "http://example.org:0/",
    ],
)
def test_links_that_lead_nowhere_good_are_refused(link):
    assert (
        refusal_of(text.optional_url, link, "Runbook") == "Runbook must be a link that starts with http:// or https://"
    )


def test_a_choice_is_understood_in_any_case():
    assert text.choice(Severity, " critical ", "Severity", "severity") is Severity.CRITICAL


def test_a_choice_that_there_is_not_names_those_that_there_are():
    assert refusal_of(text.choice, Severity, "urgent", "Severity") == (
        "Severity must be one of LOW, MEDIUM, HIGH, CRITICAL"
    )
    assert refusal_of(text.choice, Severity, None, "Severity") == "Severity is required"
    assert refusal_of(text.choice, Severity, {}, "Severity").startswith("Severity must be one of")


@given(st.text(alphabet=st.characters(), max_size=400))
def test_whatever_a_line_keeps_can_be_stored_and_sent(given):
    try:
        kept = text.line(given, "Title", "title")
    except ValidationFailed:
        return
    assert 1 <= len(kept) <= 300
    assert kept == kept.strip()
    assert "\0" not in kept
    kept.encode()
