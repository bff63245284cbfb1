"""The engine on a few recorded incidents whose cause is known, through the readers that the benchmark uses."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from bench.cause_baselines import BASELINES
from bench.recorded_cases import Case, read_case, read_cases
from bench.root_cause import main, measure, measure_engine, top, with_noise, without
from engines.correlation import analyse
from engines.correlation.propagation import graph_of

CASES = Path(__file__).parents[2].parent / "shared" / "rca"
CHOSEN = (
    "petshop-low_traffic-issue_2",
    "petshop-high_traffic-issue_6",
    "trainticket-20230129-04",
    "trainticket-20230129-18",
    "trainticket-20230129-25",
)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    if not CASES.is_dir():
        pytest.skip("the recorded cases (../shared/rca) are not here")
    return [read_case(CASES / name) for name in CHOSEN]


def test_the_right_service_is_named_first_in_incidents_of_each_kind(cases):
    results = measure_engine(cases)
    assert top(results, 1) >= 0.8
    assert top(results, 3) == 1.0


def test_no_simple_ranking_does_as_well(cases):
    best = max(top(measure(cases, ranking), 1) for ranking in BASELINES.values())
    assert top(measure_engine(cases), 1) > best


@pytest.mark.parametrize("signal", ["metrics", "logs", "traces"])
def test_a_signal_less_leaves_an_answer(cases, signal):
    for case in cases:
        analysis = analyse(without(case.evidence, signal))
        assert analysis.causes
        assert analysis.summary


def test_services_that_only_make_noise_are_not_named(cases):
    for case in cases[:2]:
        assert not analyse(with_noise(case.evidence, 20, seed=1)).ranking[0].startswith("noise-")


def test_services_that_only_make_noise_could_be_to_blame_as_far_as_the_graph_goes(cases):
    for case in cases[:2]:
        noisy = with_noise(case.evidence, 5, seed=1)
        graph = graph_of(noisy)
        assert {f"noise-{number}" for number in range(5)} <= graph.reached_from(noisy.services[0]).keys()


def test_the_answer_is_not_in_the_evidence(cases):
    for case in cases:
        assert "truth" not in {field.name for field in fields(case.evidence)}
        assert case.evidence.start < case.evidence.noticed_at <= case.evidence.end
        assert all(np.all(np.diff(series.times) > 0) for series in case.evidence.series)


def test_a_folder_without_cases_is_said_to_be_one(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "holds no case" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError):
        list(read_cases(tmp_path))


def test_a_run_without_cases_says_what_it_lacks(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "which folder has the cases" in capsys.readouterr().err
