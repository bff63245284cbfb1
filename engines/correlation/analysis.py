"""From evidence to an answer: each stage a pure function, in the order in which a person would go about it."""

from engines.correlation.evidence import Evidence
from engines.correlation.findings import Analysis

ENGINE_VERSION = "1.0.0"
"""Which engine answered: changes whenever the same evidence may get another answer."""


def analyse(evidence: Evidence) -> Analysis:
    """The probable root causes of an incident, the best first, with all that speaks for them."""
    raise NotImplementedError(evidence)
