"""The value of what was not given, where null means something else."""

from enum import Enum
from typing import Final


class Unset(Enum):
    """The type of `UNSET`. `value is UNSET` narrows a union for the type checker."""

    UNSET = "UNSET"


UNSET: Final = Unset.UNSET
