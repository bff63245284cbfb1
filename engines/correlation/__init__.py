"""Why it hurts: what was gathered around an incident in, a ranking of probable root causes with its evidence out."""

from engines.correlation.analysis import ENGINE_VERSION, analyse
from engines.correlation.evidence import Evidence
from engines.correlation.findings import Analysis

__all__ = ["ENGINE_VERSION", "Analysis", "Evidence", "analyse"]
