"""Whose answer a series is, of a query for many objectives, its mark says."""

from engines.slo.batches import LABEL, Counted, Question, answers
from engines.slo.indicators import Events


def test_series_that_carry_no_mark_of_ours_answer_nothing():
    asked = [Question(7, Events("all_total", bad="errors_total"))]
    strange = [({}, [(60.0, 1.0)]), ({LABEL: "8t"}, [(60.0, 2.0)]), ({LABEL: "p"}, [(60.0, 3.0)])]

    found = answers(asked, [*strange, ({LABEL: "7t"}, [(60.0, 4.0)])])

    assert found == {7: Counted(total={(): {60.0: 4.0}})}
