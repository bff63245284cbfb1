"""Recorded ratios: many read with one selector, each given to the objective that asked for it."""

from domain.errors import ValidationFailed
from domain.objectives import RatioIndicator, RawRatioIndicator
from engines.slo.batches import Counted, Question
from engines.slo.indicators import events
from engines.slo.recorded import selected_answers, selections

METRIC = "slo:sli_error:ratio_rate5m"


def question(number: int, ratio: str) -> Question:
    return Question(number, events(RawRatioIndicator(ratio), 300))


def test_ratios_of_one_metric_are_read_with_one_selector_and_the_rest_is_asked_as_it_is():
    asked = [question(n, f'{METRIC}{{sloth_id="shop-{n}"}}') for n in range(3)]
    other = Question(3, events(RatioIndicator(bad="a_total", total="b_total"), 300))
    awkward = question(4, f'{METRIC}{{sloth_id="a.*b"}}')
    [selection], rest = selections([*asked, other, awkward])
    assert selection.expression == f'{METRIC}{{sloth_id=~"shop-0|shop-1|shop-2"}}'
    assert rest == [other, awkward]


def test_each_objective_gets_the_series_that_has_all_of_its_labels():
    asked = [
        question(0, f'{METRIC}{{sloth_id="a"}}'),
        question(1, f'{METRIC}{{sloth_id="b",env="prod"}}'),
        question(2, f'{METRIC}{{sloth_id="c"}}'),
        question(3, f'{METRIC}{{sloth_id="d"}}'),
    ]
    [selection], _ = selections(asked)
    found = selected_answers(
        selection,
        [
            ({"sloth_id": "a"}, [(300.0, 0.25)]),
            ({"sloth_id": "b", "env": "test"}, [(300.0, 1.0)]),
            ({"sloth_id": "b", "env": "prod"}, [(300.0, 0.5)]),
            ({"sloth_id": "d", "env": "test"}, [(300.0, 1.0)]),
            ({"sloth_id": "d", "env": "prod"}, [(300.0, 1.0)]),
        ],
    )
    assert found[0] == Counted({(): {300.0: 0.25}}, {(): {300.0: 1.0}})
    assert found[1] == Counted({(): {300.0: 0.5}}, {(): {300.0: 1.0}})
    assert found[2] == Counted()
    assert isinstance(found[3], ValidationFailed)
