"""What detection says, and where its parameters are explained."""

from dataclasses import fields
from pathlib import Path

import pytest
from strawberry.utils.str_converters import to_camel_case

from domain.alerts import Comparison, DetectionKind
from domain.detection import Parameters, Rule
from domain.detection_words import ending, summary
from domain.telemetry import GoldenSignal

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "detection.md"


@pytest.mark.parametrize("name", [field.name for field in fields(Parameters)])
def test_every_parameter_is_documented(name: str) -> None:
    assert f"`{to_camel_case(name)}`" in DOCUMENTATION.read_text()


@pytest.mark.parametrize("kind", DetectionKind)
def test_every_kind_is_documented_and_says_why_it_fires(kind: DetectionKind) -> None:
    assert f"`{kind}`" in DOCUMENTATION.read_text()
    rule = Rule(kind=kind, signal=GoldenSignal.ERROR_RATIO, threshold=0.05, for_seconds=120)
    assert "checkout" in summary(rule, "checkout", 0.123, 0.05)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            Rule(kind=DetectionKind.THRESHOLD, signal=GoldenSignal.ERROR_RATIO, threshold=0.05, for_seconds=120),
            "The error ratio of checkout is 12.3 %, above 5 % for 2 min",
        ),
        (
            Rule(kind=DetectionKind.SEASONAL, signal=GoldenSignal.LATENCY_P95, threshold=4),
            "The 95th percentile of the latency of checkout is 123 ms, usually 40 ms",
        ),
        (
            Rule(kind=DetectionKind.ABSENCE, signal=GoldenSignal.REQUEST_RATE, for_seconds=300),
            "The request rate of checkout is missing for 5 min",
        ),
        (
            Rule(
                kind=DetectionKind.RATE_OF_CHANGE,
                signal=GoldenSignal.REQUEST_RATE,
                comparison=Comparison.BELOW,
                threshold=-0.5,
            ),
            "The request rate of checkout is 0.123/s, a change by more than -50% since 1 h ago",
        ),
        (
            Rule(kind=DetectionKind.SLO_BURN, threshold=14.4),
            "The burn rate of the error budget of checkout is 0.123, above 14.4",
        ),
    ],
)
def test_an_alert_says_what_is_wrong(rule: Rule, said: str) -> None:
    assert summary(rule, "checkout", 0.123, 0.04) == said


def test_an_end_says_why() -> None:
    rule = Rule(kind=DetectionKind.THRESHOLD, signal=GoldenSignal.SATURATION, threshold=0.9)
    assert ending(rule, "checkout", "RECOVERED", 0.5) == "The saturation of checkout is back at 50 %"
    assert "nothing was measured" in ending(rule, "checkout", "LOST", None)
