"""What the engine answers on a small shop, and the properties that its answers always have."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.correlation import CorrelationKind, RootCauseKind
from domain.incidents import ImpactLevel, Severity
from domain.telemetry import LogLevel, TelemetryBackend
from engines.correlation import ENGINE_VERSION, analyse
from engines.correlation.evidence import (
    Alert,
    BudgetBurn,
    Call,
    Deployment,
    Entry,
    Event,
    EventKind,
    Evidence,
    Gap,
    LogPattern,
    OpenIncident,
    Series,
    Signal,
    TraceSet,
)
from engines.correlation.record import digest, read_analysis, read_evidence, write
from tests.engines.correlation.shops import NOTICED_AT, shop, with_traces

FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FAILING = {
    ("stock", Signal.ERROR_RATIO): 0.4,
    ("cart", Signal.ERROR_RATIO): 0.3,
    ("web", Signal.ERROR_RATIO): 0.2,
}
FAULTS = st.dictionaries(
    st.tuples(
        st.sampled_from(["web", "cart", "catalog", "stock", "price"]),
        st.sampled_from([Signal.ERROR_RATIO, Signal.LATENCY_P95, Signal.CPU]),
    ),
    st.floats(0.05, 2.0),
    max_size=5,
)


def test_the_callee_where_errors_begin_is_ranked_before_the_callers_that_pass_them_on():
    analysis = analyse(shop(FAILING))
    first = analysis.causes[0]
    assert (first.service, first.kind, first.rank) == ("stock", RootCauseKind.ERRORS, 1)
    assert first.onset == pytest.approx(NOTICED_AT - 120, abs=60)
    assert "ERROR_RATIO of stock rose" in first.explanation
    assert analysis.engine_version == ENGINE_VERSION


def test_a_service_short_of_cpu_is_a_resource_problem():
    analysis = analyse(
        shop({("price", Signal.CPU): 0.8, ("price", Signal.LATENCY_P95): 0.5, ("web", Signal.LATENCY_P95): 0.5})
    )
    assert (analysis.causes[0].service, analysis.causes[0].kind) == ("price", RootCauseKind.RESOURCE)


def test_a_failure_that_shows_in_no_metric_is_found_in_lines_and_missing_steps():
    analysis = analyse(with_traces(shop(), failing="cart"))
    assert analysis.causes[0].service == "cart"
    found = {finding.name for finding in analysis.findings if finding.service == "cart"}
    assert {"LOG_NEW", "CALL_MISSING", "ERROR_ORIGIN"} <= found
    assert not [finding for finding in analysis.findings if finding.service in ("stock", "price")]


def test_slow_work_of_a_callee_is_told_from_the_waiting_of_its_caller():
    analysis = analyse(with_traces(shop(), slow="stock"))
    assert (analysis.causes[0].service, analysis.causes[0].kind) == ("stock", RootCauseKind.LATENCY)
    assert [finding.service for finding in analysis.findings if finding.name == "SELF_TIME"] == ["stock"]


def test_a_deployment_just_before_the_onset_is_the_cause_and_one_of_yesterday_is_not():
    evidence = shop(FAILING)
    just_before = Deployment("d1", "stock", NOTICED_AT - 240, "1.4", "1.3")
    yesterday = Deployment("d2", "stock", NOTICED_AT - 86_400, "1.2")
    assert analyse(replace(evidence, deployments=(just_before,))).causes[0].kind is RootCauseKind.DEPLOYMENT
    assert analyse(replace(evidence, deployments=(yesterday,))).causes[0].kind is RootCauseKind.ERRORS


def test_nothing_out_of_the_ordinary_is_said_to_be_unknown():
    analysis = analyse(shop())
    assert (analysis.causes[0].kind, analysis.causes[0].confidence) == (RootCauseKind.UNKNOWN, 0.0)
    assert analysis.causes[0].service == "web"


def test_what_was_so_before_already_is_no_symptom():
    evidence = shop()
    before = [
        replace(part, values=part.values + 0.5 * (part.times >= NOTICED_AT - 2400))
        if (part.service, part.signal) == ("stock", Signal.ERROR_RATIO)
        else part
        for part in evidence.series
    ]
    assert analyse(replace(evidence, series=tuple(before))).causes[0].kind is RootCauseKind.UNKNOWN


def test_a_daily_peak_is_no_anomaly():
    times = NOTICED_AT + np.arange(-3 * 86_400.0, 301.0, 300.0)
    values = 0.1 + 0.5 * (np.abs((times - NOTICED_AT + 43_200) % 86_400 - 43_200) < 3_600)
    peak = Series("stock", Signal.LATENCY_P95, times, values)
    assert analyse(replace(shop(), series=(peak,))).causes[0].kind is RootCauseKind.UNKNOWN


def test_services_are_hit_by_what_they_show_themselves():
    evidence = replace(shop(FAILING), burns=(BudgetBurn("catalog", "slo-1", "catalog availability", 20.0),))
    levels = {impact.service: impact.level for impact in analyse(evidence).impacts}
    assert levels["web"] is levels["stock"] is ImpactLevel.PRIMARY
    assert levels["cart"] is ImpactLevel.SECONDARY
    assert levels["catalog"] is ImpactLevel.SUSPECTED


def test_the_runner_up_is_told_why_it_is_not_the_first():
    why = analyse(shop(FAILING)).why_not
    assert "scores" in why
    assert "explained by stock" in why


def test_an_incident_with_the_same_cause_is_linked_and_one_without_anything_in_common_is_not():
    same = OpenIncident("i1", "Checkout fails", NOTICED_AT - 60, ("checkout", "stock"), "stock", RootCauseKind.ERRORS)
    other = OpenIncident("i2", "Mail is late", NOTICED_AT - 7_200, ("mail",), "smtp", RootCauseKind.LATENCY)
    links = analyse(replace(shop(FAILING), incidents=(same, other))).incident_links
    assert [(link.incident_id, link.is_same_cause) for link in links] == [("i1", True)]
    assert sum(part.contribution for part in links[0].components) == pytest.approx(links[0].score)


def test_gaps_are_carried_along_and_what_is_left_is_still_analysed():
    gap = Gap(TelemetryBackend.LOKI, "TELEMETRY_TIMEOUT", "Loki did not answer")
    analysis = analyse(replace(shop(FAILING), gaps=(gap,)))
    assert analysis.gaps == (gap,)
    assert analysis.causes[0].service == "stock"


def test_a_new_line_about_errors_is_found_by_its_counts_where_no_traces_are():
    times = NOTICED_AT + np.arange(-1800.0, 1.0, 60.0)
    usual = np.full(len(times), 40)
    patterns = (
        LogPattern("stock", "a", "handled <_>", LogLevel.INFO, usual),
        LogPattern("stock", "b", "cannot reach <_>", LogLevel.ERROR, np.where(times >= NOTICED_AT - 120, 9, 0)),
        LogPattern("cart", "c", "retry <_>", LogLevel.ERROR, np.full(len(times), 3)),
        LogPattern("cart", "d", "handled <_>", LogLevel.INFO, usual),
    )
    analysis = analyse(replace(shop(), series=(), log_times=times, patterns=patterns))
    assert [(finding.service, finding.onset) for finding in analysis.findings] == [("stock", NOTICED_AT - 120)]
    assert (analysis.causes[0].service, analysis.causes[0].kind) == ("stock", RootCauseKind.ERRORS)


@pytest.mark.parametrize("without", ["metrics", "traces", "logs"])
def test_any_signal_can_be_missing(without):
    evidence = with_traces(shop({("cart", Signal.ERROR_RATIO): 0.5, ("web", Signal.ERROR_RATIO): 0.4}), failing="cart")
    match without:
        case "metrics":
            evidence = replace(evidence, series=())
        case "traces":
            evidence = replace(evidence, traces=None)
        case "logs":
            evidence = replace(evidence, patterns=())
    assert analyse(evidence).ranking[0] == "cart"


def test_a_metric_with_half_of_its_values_missing_is_still_understood():
    evidence = shop(FAILING)
    holes = [
        replace(part, values=np.where(np.arange(len(part.values)) % 2, np.nan, part.values)) for part in evidence.series
    ]
    assert analyse(replace(evidence, series=tuple(holes))).causes[0].service == "stock"


@FEW
@given(FAULTS)
def test_the_components_of_a_score_add_up_to_it_and_name_their_evidence(faults):
    analysis = analyse(shop(faults))
    known = {finding.id for finding in analysis.findings}
    for cause in analysis.causes:
        assert sum(component.contribution for component in cause.components) == pytest.approx(cause.score, abs=1e-5)
        assert set(cause.findings) <= known
        assert 0 <= cause.confidence <= 1
    assert [cause.score for cause in analysis.causes] == sorted(
        (cause.score for cause in analysis.causes), reverse=True
    )


@FEW
@given(FAULTS, st.sampled_from(["cart", "stock", "price"]), st.sampled_from([Signal.ERROR_RATIO, Signal.CPU]))
def test_more_that_speaks_for_a_service_never_lowers_its_score(faults, service, signal):
    faults = {key: size for key, size in faults.items() if key != (service, signal)}
    before = _score(analyse(shop(faults)), service, signal.kind)
    assert _score(analyse(shop({**faults, (service, signal): 1.0})), service, signal.kind) >= before - 1e-6


@FEW
@given(FAULTS)
def test_a_deployment_or_an_alert_never_lowers_a_score(faults):
    evidence = shop(faults)
    more = replace(
        evidence,
        deployments=(Deployment("d", "stock", NOTICED_AT - 200),),
        alerts=(Alert("a", "stock", "StockFails", NOTICED_AT - 60, severity=Severity.HIGH),),
    )
    before, after = analyse(evidence), analyse(more)
    for kind in RootCauseKind:
        assert _score(after, "stock", kind) >= _score(before, "stock", kind) - 1e-6


@FEW
@given(FAULTS, st.randoms(use_true_random=False))
def test_the_order_of_evidence_does_not_matter(faults, random):
    evidence = with_traces(shop(faults), failing="stock")
    series, calls, patterns = list(evidence.series), list(evidence.calls), list(evidence.patterns)
    for parts in (series, calls, patterns):
        random.shuffle(parts)
    shuffled = replace(evidence, series=tuple(series), calls=tuple(calls), patterns=tuple(patterns))
    assert write(analyse(shuffled)) == write(analyse(evidence))


@FEW
@given(FAULTS, st.integers(-1_000, 1_000))
def test_the_same_at_another_time_has_the_same_causes(faults, days):
    evidence = with_traces(shop(faults), failing="stock")
    seconds = days * 86_400.0
    moved = replace(
        evidence,
        noticed_at=evidence.noticed_at + seconds,
        start=evidence.start + seconds,
        end=evidence.end + seconds,
        series=tuple(replace(part, times=part.times + seconds) for part in evidence.series),
        traces=replace(
            _traces(evidence),
            starts=_traces(evidence).starts + seconds,
            visit_start=_traces(evidence).visit_start + seconds,
        ),
    )
    assert _answer(analyse(moved)) == _answer(analyse(evidence))


@FEW
@given(FAULTS, st.permutations(["alpha", "beta", "gamma", "delta", "epsilon"]))
def test_names_do_not_matter(faults, names):
    evidence = with_traces(shop(faults), failing="stock")
    new = dict(zip(["cart", "catalog", "price", "stock", "web"], names, strict=True))
    traces = _traces(evidence)
    renamed = replace(
        evidence,
        services=tuple(new[service] for service in evidence.services),
        calls=tuple(Call(new[call.caller], new[call.callee]) for call in evidence.calls),
        series=tuple(replace(part, service=new[part.service]) for part in evidence.series),
        patterns=tuple(replace(pattern, service=new[pattern.service]) for pattern in evidence.patterns),
        traces=replace(
            traces,
            entries=tuple(
                Entry(new[entry.service], entry.operation, new[entry.caller] if entry.caller else None)
                for entry in traces.entries
            ),
            events=tuple(
                Event(new[event.service], event.kind, new[event.name] if event.kind is EventKind.CALL else event.name)
                for event in traces.events
            ),
        ),
    )
    expected = sorted((new[service], kind, score) for service, kind, score in _answer(analyse(evidence)))
    assert sorted(_answer(analyse(renamed))) == expected


@FEW
@given(FAULTS)
def test_a_replay_of_stored_evidence_gives_the_same_answer_byte_for_byte(faults):
    evidence = replace(
        with_traces(shop(faults), failing="price"), gaps=(Gap(TelemetryBackend.TEMPO, "TELEMETRY_TIMEOUT", "late"),)
    )
    stored = write(evidence)
    answer = write(analyse(evidence))
    assert write(analyse(read_evidence(stored))) == answer
    assert write(read_evidence(stored)) == stored
    assert write(read_analysis(answer)) == answer
    assert len(digest(stored)) == 32


def test_what_is_no_record_is_refused():
    with pytest.raises(ValueError, match="no record of evidence"):
        read_evidence(b'{"services": 7}')


def test_evidence_kinds_are_those_of_the_api():
    kinds = {finding.kind for finding in analyse(with_traces(shop(FAILING), failing="stock")).findings}
    assert kinds == {CorrelationKind.METRIC, CorrelationKind.LOG, CorrelationKind.TRACE}


def _score(analysis, service: str, kind: RootCauseKind) -> float:
    return max(
        (cause.score for cause in analysis.causes if (cause.service, cause.kind) == (service, kind)), default=0.0
    )


def _answer(analysis) -> list[tuple[str, RootCauseKind, float]]:
    return [(cause.service, cause.kind, round(cause.score, 4)) for cause in analysis.causes]


def _traces(evidence: Evidence) -> TraceSet:
    assert evidence.traces is not None
    return evidence.traces
