"""What a reader makes of a text: objectives, services, and everything that it could not or would not take."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.objectives import ObjectiveDefinition


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to say about one place of a text: document and line from 1, `path` as in `spec.slos[0].sli`."""

    message: str
    document: int = 1
    line: int = 1
    path: str = ""

    def __str__(self) -> str:
        place = f"document {self.document}, line {self.line}"
        return f"{place}, {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class ServiceDescription:
    """A service that a text describes (OpenSLO `Service`)."""

    name: str
    display_name: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Read:
    """An objective, and where the text has it. `extras` is what stands beside it that its format has no words for."""

    definition: ObjectiveDefinition
    document: int
    line: int
    extras: str = ""


@dataclass(frozen=True, slots=True)
class Specification:
    """A whole text, read. With `problems` it is not to be imported; `notices` say what was left out or understood.

    `objectives` holds those that were read without a problem, also beside others that were not.
    """

    objectives: tuple[Read, ...] = ()
    services: tuple[ServiceDescription, ...] = ()
    problems: tuple[Remark, ...] = ()
    notices: tuple[Remark, ...] = ()

    @property
    def definitions(self) -> tuple[ObjectiveDefinition, ...]:
        """The objectives alone."""
        return tuple(read.definition for read in self.objectives)
