"""What was found running."""

from dataclasses import dataclass

from domain.objectives import ObjectiveDefinition


@dataclass(frozen=True, slots=True)
class Found:
    """An objective that runs already: whose rules they are, what they call it, and its definition, or why there is none."""

    origin: str
    id: str
    definition: ObjectiveDefinition | None
    reason: str = ""
