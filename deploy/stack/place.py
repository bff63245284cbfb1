"""Where a stack runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from db.embedded import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of its data and logs, the ports of its services, and a Postgres where it shall not bring its own.

    `env_file` has further settings of the server. `with_sign_in` says whether people and programs have to sign in.
    """

    folder: Path
    ports: Mapping[str, int]
    database_url: str | None = None
    env_file: Path | None = None
    with_sign_in: bool = False

    @property
    def postgres_url(self) -> str:
        """Where the data is."""
        return self.database_url or EmbeddedPostgres(self.folder / "postgres").url
