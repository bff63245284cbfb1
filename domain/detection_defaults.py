"""The rules that every installation starts with. People change and delete them; nobody adds them again."""

from dataclasses import dataclass
from typing import Any, Final

from domain.alerts import Comparison, DetectionKind
from domain.detection import Rule, rule_of
from domain.incidents import Severity
from domain.telemetry import GoldenSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRule:
    """A rule as it is first written down."""

    name: str
    description: str
    kind: DetectionKind
    signal: GoldenSignal
    comparison: Comparison
    threshold: float
    for_seconds: int
    severity: Severity
    parameters: dict[str, Any]

    @property
    def rule(self) -> Rule:
        """How it watches."""
        return rule_of(
            {
                "kind": self.kind,
                "signal": self.signal,
                "comparison": self.comparison,
                "threshold": self.threshold,
                "for_seconds": self.for_seconds,
                "parameters": self.parameters,
            }
        )


DEFAULT_RULES: Final = (
    DefaultRule(
        name="High error ratio",
        description="More than 5 % of the requests fail, and that is no chance of a few requests.",
        kind=DetectionKind.THRESHOLD,
        signal=GoldenSignal.ERROR_RATIO,
        comparison=Comparison.ABOVE,
        threshold=0.05,
        for_seconds=120,
        severity=Severity.HIGH,
        parameters={"confidence": 0.99, "recoveryThreshold": 0.03},
    ),
    DefaultRule(
        name="Slow responses (p95)",
        description="The slowest 5 % of the requests take half as long again as is usual at this hour.",
        kind=DetectionKind.SEASONAL,
        signal=GoldenSignal.LATENCY_P95,
        comparison=Comparison.ABOVE,
        threshold=5.0,
        for_seconds=180,
        severity=Severity.HIGH,
        parameters={"minimumChange": 0.5, "minimumRequests": 100, "minimumValue": 0.05},
    ),
    DefaultRule(
        name="Slow responses (p99)",
        description="The slowest 1 % of the requests take twice as long as is usual at this hour.",
        kind=DetectionKind.SEASONAL,
        signal=GoldenSignal.LATENCY_P99,
        comparison=Comparison.ABOVE,
        threshold=5.0,
        for_seconds=300,
        severity=Severity.MEDIUM,
        parameters={"minimumChange": 1.0, "minimumRequests": 500, "minimumValue": 0.1},
    ),
    DefaultRule(
        name="Traffic drop",
        description="Less than half of the requests arrive that are usual at this hour.",
        kind=DetectionKind.SEASONAL,
        signal=GoldenSignal.REQUEST_RATE,
        comparison=Comparison.BELOW,
        threshold=3.0,
        for_seconds=180,
        severity=Severity.HIGH,
        parameters={"minimumChange": 0.5, "minimumRequests": 100},
    ),
    DefaultRule(
        name="High saturation",
        description="The busiest instance uses a core, or its memory, by more than 90 %, which is not usual for it.",
        kind=DetectionKind.SEASONAL,
        signal=GoldenSignal.SATURATION,
        comparison=Comparison.ABOVE,
        threshold=3.0,
        for_seconds=300,
        severity=Severity.MEDIUM,
        parameters={"minimumChange": 0.2, "minimumValue": 0.9},
    ),
)
