"""What was found running."""

from dataclasses import dataclass

from domain.objectives import ObjectiveDefinition


@dataclass(frozen=True, slots=True)
class Found:
    """An objective that runs already: whose rules they are, its name there, its definition, or why it has none."""

    origin: str
    id: str
    definition: ObjectiveDefinition | None
    reason: str = ""
