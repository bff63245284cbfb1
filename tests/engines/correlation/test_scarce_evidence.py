"""What the engine makes of little: short histories, alerts alone, services that are gone, silent dependencies."""

from dataclasses import replace

import numpy as np
import pytest

from domain.correlation import CorrelationKind, RecommendationKind, RootCauseKind
from engines.advice import PastIncident, advise, steps_for
from engines.correlation import analyse
from engines.correlation.evidence import Alert, Call, Deployment, OpenIncident, Series, Signal
from tests.engines.correlation.shops import NOTICED_AT, metrics, shop, short, with_database, with_traces

FAILING = {
    ("stock", Signal.ERROR_RATIO): 0.4,
    ("cart", Signal.ERROR_RATIO): 0.3,
    ("web", Signal.ERROR_RATIO): 0.2,
}


def alert(service: str, name: str, *, at: float = NOTICED_AT - 60) -> Alert:
    return Alert(f"{service}-{name}", service, name, at)


def test_alerts_alone_give_ranked_causes_the_deepest_outage_first():
    fired = (alert("web", "HighErrorRate"), alert("stock", "ServiceDown"), alert("cart", "SlowRequests"))
    analysis = analyse(replace(shop(), series=(), alerts=fired))
    assert (analysis.causes[0].service, analysis.causes[0].kind) == ("stock", RootCauseKind.ERRORS)
    assert set(analysis.ranking) == {"stock", "cart", "web"}
    assert "ServiceDown fires on stock" in analysis.summary
    assert {cause.kind for cause in analysis.causes if cause.service == "cart"} == {RootCauseKind.LATENCY}


def test_an_alert_whose_name_says_nothing_still_counts_for_its_service():
    analysis = analyse(replace(shop(), series=(), alerts=(alert("stock", "Pager"),)))
    assert (analysis.causes[0].service, analysis.causes[0].kind) == ("stock", RootCauseKind.UNKNOWN)
    assert analysis.causes[0].score > 0
    assert "Pager fires on stock" in analysis.summary


@pytest.mark.parametrize(("seconds", "said"), [(42, "42 s"), (240, "4 min")])
def test_how_long_before_the_onset_somebody_deployed_is_said_in_words_that_fit(seconds, said):
    deployed = Deployment("d1", "stock", NOTICED_AT - seconds, "1.4")
    fired = alert("stock", "HighErrorRate", at=NOTICED_AT - 60)
    analysis = analyse(replace(shop(), series=(), alerts=(fired,), deployments=(deployed,)))
    assert analysis.causes[0].kind is RootCauseKind.DEPLOYMENT
    assert f"version 1.4 was deployed {said} before the onset" in analysis.summary


def test_a_deployment_during_which_no_traces_were_sampled_is_still_before_what_they_show():
    # The sample has none from twenty minutes before until two minutes before.
    evidence = with_traces(shop(), failing="stock")
    deployed = Deployment("d1", "stock", NOTICED_AT - 150, "1.4", "1.3")
    analysis = analyse(replace(evidence, series=(), deployments=(deployed,)))
    assert (analysis.causes[0].service, analysis.causes[0].kind) == ("stock", RootCauseKind.DEPLOYMENT)
    traced = [finding.onset for finding in analysis.findings if finding.kind is not CorrelationKind.DEPLOYMENT]
    assert traced
    assert all(onset is not None and NOTICED_AT - 120 <= onset <= NOTICED_AT for onset in traced)


@pytest.mark.parametrize(("has_baseline", "said"), [(True, "In /stock of stock"), (False, "A line of stock is new")])
def test_a_new_line_counts_also_where_its_traces_have_nothing_to_be_compared_with(has_baseline, said):
    traced = with_traces(replace(shop(), series=()), failing="stock", has_baseline=has_baseline)
    times = NOTICED_AT + np.arange(-3600.0, 61.0, 60.0)
    written = {"stock-failed": 30 * (times >= NOTICED_AT - 120), "stock-handled": np.full(len(times), 30)}
    quiet = np.zeros(len(times), dtype=np.int64)
    patterns = tuple(replace(one, counts=written.get(one.id, quiet)) for one in traced.patterns)
    analysis = analyse(replace(traced, patterns=patterns, log_times=times))
    assert analysis.causes[0].service == "stock"
    lines = [finding for finding in analysis.findings if finding.name == "LOG_NEW"]
    assert [finding.summary.startswith(said) for finding in lines] == [True]


def test_going_back_to_the_version_before_is_not_what_broke_it():
    broke = Deployment("d1", "stock", NOTICED_AT - 240, "1.4", "1.3")
    mended = Deployment("d2", "stock", NOTICED_AT + 50, "1.3", "1.4")
    evidence = replace(shop(), series=(), alerts=(alert("stock", "HighErrorRate"),), deployments=(broke, mended))
    analysis = analyse(evidence)
    assert "version 1.4 was deployed" in analysis.summary
    assert advise(analysis, evidence, {})[0].title == "Roll back stock from 1.4 to 1.3"


def test_a_deployment_amid_earlier_trouble_is_rolled_back_all_the_same():
    fired = (alert("stock", "HighErrorRate", at=NOTICED_AT - 900), alert("stock", "ServiceErrors", at=NOTICED_AT))
    deployed = Deployment("d1", "stock", NOTICED_AT - 150, "1.4", "1.3")
    evidence = replace(with_traces(shop(), failing="stock"), series=(), alerts=fired, deployments=(deployed,))
    analysis = analyse(evidence)
    first, second = analysis.causes[:2]
    assert (first.kind, first.onset) == (RootCauseKind.DEPLOYMENT, deployed.at)
    assert (second.kind, second.service) == (RootCauseKind.ERRORS, "stock")
    assert second.onset is not None
    assert second.onset >= NOTICED_AT - 120
    assert advise(analysis, evidence, {})[0].kind is RecommendationKind.ROLL_BACK


def test_what_ended_a_past_incident_is_advised_where_that_was_alike_and_says_what_helped():
    evidence = replace(shop(), series=(), alerts=(alert("stock", "HighErrorRate"),))
    merged = PastIncident(3, "Stock fails", "Merged into INC-2, because web depends on stock.", 0.9)
    other = PastIncident(2, "Web is slow", "Fewer banners", 0.2)
    alike = PastIncident(1, "Stock failed", "Restarted stock", 0.5)
    advices = advise(analyse(evidence), evidence, {}, [merged, alike, other])
    assert [it.action for it in advices if it.kind is RecommendationKind.REPEAT_RESOLUTION] == ["Restarted stock"]
    advices = advise(analyse(evidence), evidence, {}, [merged, other])
    assert all(it.kind is not RecommendationKind.REPEAT_RESOLUTION for it in advices)


def test_each_cause_is_explained_by_what_speaks_for_its_kind():
    evidence = shop({("stock", Signal.ERROR_RATIO): 0.5, ("stock", Signal.LATENCY_P95): 0.08})
    analysis = analyse(evidence)
    [slow] = [cause for cause in analysis.causes if (cause.service, cause.kind) == ("stock", RootCauseKind.LATENCY)]
    assert slow.explanation.startswith("LATENCY_P95 of stock rose")
    assert steps_for(slow, analysis, evidence)[-1].description == slow.explanation


def test_an_incident_that_is_open_on_a_dependency_speaks_for_it():
    other = OpenIncident("00000000-0000-0000-0000-000000000001", "Stock is odd", NOTICED_AT - 300, ("stock",))
    analysis = analyse(replace(shop(), series=(), incidents=(other,), alerts=(alert("web", "HighErrorRate"),)))
    assert "stock" in analysis.ranking
    assert any('"Stock is odd" was open on stock' in finding.summary for finding in analysis.findings)


@pytest.mark.parametrize("seconds", [150.0, 240.0, 360.0])
def test_minutes_of_history_are_enough_to_see_what_changed_and_convince_less_than_an_hour(seconds):
    analysis = analyse(short(shop(FAILING), seconds))
    assert analysis.causes[0].service == "stock"
    assert analysis.causes[0].score <= analyse(shop(FAILING)).causes[0].score


def test_failing_requests_are_a_symptom_of_a_service_that_nobody_has_seen_before():
    times = NOTICED_AT + np.arange(-60.0, 61.0, 15.0)
    young = Series("stock", Signal.ERROR_RATIO, times, np.full(len(times), 0.6))
    assert analyse(replace(shop(), series=(young,))).causes[0].service == "stock"


def test_a_short_and_quiet_history_is_nothing_out_of_the_ordinary():
    assert analyse(short(shop(), 240.0)).causes[0].score == 0


def test_a_service_that_does_not_answer_its_scrapes_is_down():
    times = NOTICED_AT + np.arange(-3600.0, 61.0, 15.0)
    up = [
        Series(service, Signal.UP, times, np.where((service == "stock") & (times >= NOTICED_AT - 90), 0.0, 1.0))
        for service in ("web", "cart", "stock")
    ]
    shown = metrics({("cart", Signal.ERROR_RATIO): 0.3, ("web", Signal.ERROR_RATIO): 0.2})
    analysis = analyse(replace(shop(), series=(*shown, *up)))
    assert (analysis.causes[0].service, analysis.causes[0].kind) == ("stock", RootCauseKind.ERRORS)
    assert "UP of stock fell from 1 to 0" in analysis.causes[0].explanation


def test_a_service_of_which_nothing_is_measured_any_more_is_missed():
    evidence = shop({("cart", Signal.ERROR_RATIO): 0.3, ("web", Signal.ERROR_RATIO): 0.2})
    ended = tuple(
        replace(one, values=np.where(one.times > NOTICED_AT - 120, np.nan, one.values))
        if one.service == "price"
        else one
        for one in evidence.series
    )
    analysis = analyse(replace(evidence, series=ended))
    assert analysis.causes[0].service == "price"
    assert "Nothing of price is measured any more" in analysis.causes[0].explanation


def test_metrics_that_end_everywhere_at_once_speak_of_whoever_measures_and_of_no_service():
    evidence = shop()
    ended = tuple(
        replace(one, values=np.where(one.times > NOTICED_AT - 120, np.nan, one.values)) for one in evidence.series
    )
    assert analyse(replace(evidence, series=ended)).causes[0].score == 0


@pytest.mark.parametrize(("failing", "seconds"), [(True, 0.002), (False, 0.5)])
def test_a_database_that_only_its_caller_sees_is_a_dependency_that_fails_or_is_slow(failing, seconds):
    evidence = with_database(replace(shop(), calls=(Call("web", "stock"),)), failing=failing, seconds=seconds)
    analysis = analyse(evidence)
    assert (analysis.causes[0].service, analysis.causes[0].kind) == ("items-db", RootCauseKind.DEPENDENCY)
    assert [cause.kind for cause in analysis.causes if cause.service == "items-db"] == [RootCauseKind.DEPENDENCY]
    [advice] = advise(analysis, evidence, {})[:1]
    assert "Let stock do without items-db" in advice.title


def test_a_database_that_does_as_ever_is_no_cause():
    assert analyse(with_database(replace(shop(), series=()))).causes[0].score == 0
