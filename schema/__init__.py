"""What clients see.

The enums come first: a type that mentions one before it is described would show it without its descriptions.
"""

from schema import enums as enums
