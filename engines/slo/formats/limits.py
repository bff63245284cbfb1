"""How large what is read may be."""

from typing import Final

LONGEST_SECONDS: Final = 10 * 366 * 86_400
"""No window is longer than ten years."""

NUMBER_CHARACTERS: Final = 40
NUMBER_EXPONENT: Final = 30
"""No number is longer or larger than this many digits say."""
