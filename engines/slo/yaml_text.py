"""Plain data as YAML, in the order it has."""

from decimal import Decimal
from typing import Any, Final

import yaml

_LONGEST_LINE: Final = 2**30


class ExactNumber(str):
    """A number that YAML shall write digit for digit, without quotes."""

    __slots__ = ()

    def __new__(cls, value: Decimal) -> "ExactNumber":
        return super().__new__(cls, f"{value:f}")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # chosen when it is imported
    """Writes texts of several lines as they are, and no aliases for what is equal by chance."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def yaml_text(content: Any) -> str:
    """The same data always gives the same text."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=_LONGEST_LINE, allow_unicode=True)
    return text


def _text(dumper: Any, text: str) -> Any:
    is_block = "\n" in text and not any(line.endswith(" ") for line in text.split("\n"))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if is_block else None)


def _number(dumper: Any, number: ExactNumber) -> Any:
    return dumper.represent_scalar(f"tag:yaml.org,2002:{'float' if '.' in number else 'int'}", str(number))


_Dumper.add_representer(str, _text)
_Dumper.add_representer(ExactNumber, _number)
