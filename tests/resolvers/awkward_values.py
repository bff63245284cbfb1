"""Values that are hard to write as JSON, to sort or to compare."""

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)
TEXTS = (
    "The checkout is down",
    'double "quotes" and a trailing backslash \\',
    "single 'quotes', '' and $1 :x %s %(x)s {it} {parent} {{}}",
    "back\\slash, \\n and \\u0041 as written",
    "line\nfeed, carriage\r\nreturn, tab\t, form\ffeed",
    "control \x01\x02\x08\x1b\x1f\x7f\x80 characters",
    "separators \u2028 \u2029, bom \ufeff, last of the plane \uffff",
    "🚨 emoji 👩‍🚒 beyond the plane \U0010ffff",
    "ünïcödé, 漢字, עברית, e\u0301",
    "</script><!-- & --> null true [] {}",
    "  spaces around  ",
    "x",
)
OBJECTS: tuple[dict[str, Any], ...] = (
    {},
    {"team": "payments", "env": "prod"},
    {"env": "prod"},
    {"env": "pröd 🚨", 'quo"te': "back\\slash", "": "the empty key", "a b": "line\nfeed \x01"},
    {"nested": {"list": [1, -2.5, None, True, [], {}, [[["deep"]]], {"deeper": {"deepest": "\u2028"}}]}},
    {"big": 12345678901234567890, "tiny": 1e-300, "negative": -0.1, "zero": 0, "exponent": 1.5e300, "null": None},
)
TIMES = (
    NOW - timedelta(days=30),
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2026, 3, 1, 0, 0, 0, 120000, tzinfo=UTC),
    datetime(2026, 3, 1, 0, 0, 0, 123450, tzinfo=UTC),
    datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 3, 10, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)
RATIOS = (0.0, 1.0, 0.5, 1e-300, 0.1 + 0.2, 0.9999999999999999)
NUMBERS = (-1e308, -0.0, 5e-324, 3.141592653589793, 1e16, -12.5, 100.0)
LINKS = ("https://example.org/a?b=c&d='e'\"f\"#g", "http://例え.jp/\\x", None)
