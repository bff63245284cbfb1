"""What of a change is written down for good: everything but secrets."""

import re
from typing import Any, Final

HIDDEN: Final = "(secret)"

# Names of columns, members of JSON and labels. What only names a secret, such as `token_id`, is none.
_SECRET_NAME: Final = re.compile(
    r"(?:^|[_.\-])(?:password|passwd|passphrase|secret|token|api_?key|private_?key|authorization|cookie|credential)s?"
    r"(?:[_.\-](?:hash|digest|value|encrypted))?$",
    re.IGNORECASE,
)
_USER_INFO: Final = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")


def without_secrets(value: Any) -> Any:
    """JSON with its secrets hidden, whatever depth they are at: members that are named like one, and passwords in
    URLs. That one was there, or is not any more, stays visible.
    """
    match value:
        case dict():
            return {
                name: HIDDEN if held is not None and _SECRET_NAME.search(_snake(name)) else without_secrets(held)
                for name, held in value.items()
            }
        case list():
            return [without_secrets(held) for held in value]
        case str():
            return _USER_INFO.sub(HIDDEN, value)
    return value


def _snake(name: str) -> str:
    """`passwordHash` as `password_hash`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
