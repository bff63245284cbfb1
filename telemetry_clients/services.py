"""Services, as those who look for them in a backend are told of them."""

from typing import NamedTuple


class Service(NamedTuple):
    """A service as the catalog has it. `labels` are the declared ones, none where nobody declared any."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()
