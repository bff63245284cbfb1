"""What holds of any objective and of any text."""

import orjson
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from domain.errors import ValidationFailed
from domain.objectives import ObjectiveDefinition
from engines.slo.checks import checked_definition
from engines.slo.formats import openslo_writer
from engines.slo.formats.reader import read
from engines.slo.rules.files import RuleDialect, rule_file
from tests.engines.slo.definitions import definitions
from tests.engines.slo.formats.test_openslo import ALPHA, POLICIES, slo
from tests.engines.slo.formats.test_pyrra import RATIO, objective
from tests.engines.slo.formats.test_sloth import FILE, OBJECT

EXAMPLES = (FILE, OBJECT, slo(more=POLICIES), ALPHA, objective(RATIO))
quick = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def kept(definition: ObjectiveDefinition) -> ObjectiveDefinition:
    """The definition as it would be kept, if it would."""
    try:
        return checked_definition(definition)
    except ValidationFailed:
        assume(False)
        raise


@quick
@given(definitions())
def test_what_goes_out_as_openslo_comes_back_as_it_was(definition: ObjectiveDefinition):
    definition = kept(definition)
    found = read(openslo_writer.text([definition]))
    assert (found.problems, found.definitions) == ((), (definition,))


@quick
@given(definitions())
def test_rules_of_the_same_objective_are_the_same_text(definition: ObjectiveDefinition):
    definition = kept(definition)
    for dialect in RuleDialect:
        made = rule_file([definition], dialect=dialect)
        assert made == rule_file([definition], dialect=dialect)
        assert yaml.safe_load(made.text)["groups"] or made.left_out


@quick
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda blob: blob.decode("latin-1")))
def test_no_text_makes_the_reader_fail(text: str):
    found = read(text)
    assert found.problems or found.objectives or found.services


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("{{.window}} ))(")
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@quick
@given(st.data())
def test_no_change_of_a_good_text_makes_the_reader_fail(data: st.DataObject):
    """A value somewhere in a good text is something else, gone or renamed: it is read, or a problem says where."""
    documents = [one for one in yaml.safe_load_all(data.draw(st.sampled_from(EXAMPLES)).replace("00:00:00", ""))]
    documents = orjson.loads(orjson.dumps(documents, default=str))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(documents))
        while isinstance(place, dict | list) and place:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or data.draw(st.integers(0, 3)) == 0:
                match data.draw(st.sampled_from(("other", "gone", "renamed"))):
                    case "other":
                        place[key] = data.draw(values)
                    case "gone":
                        del place[key]
                    case "renamed" if isinstance(place, dict):
                        place[data.draw(st.text(max_size=5))] = place.pop(key)
                break
            place = place[key]
    text = yaml.safe_dump_all(documents, allow_unicode=True)
    found = read(text)
    assert found.problems or found.objectives or found.services
    assert found == read(text)
    for definition in found.definitions:
        assert checked_definition(definition) == definition
