"""What the filter of a list asks of its rows."""

from collections.abc import Mapping

from resolvers.compile.arguments import Argument
from resolvers.compile.parameters import Parameters
from resolvers.compile.sources import Condition, Filter


def condition_sql(conditions: Filter, given: Argument | None, parameters: Parameters) -> list[str]:
    """The conditions that a filter makes, as templates over `{it}`. A null or absent field asks nothing."""
    return conditions_of(conditions, (given.fields or {}) if given is not None else {}, parameters)


def conditions_of(conditions: Filter, given: Mapping[str, Argument], parameters: Parameters) -> list[str]:
    """The conditions of the given values, by name."""
    made = []
    for name, argument in given.items():
        if argument.value is None or name not in conditions:
            continue
        condition = conditions[name]
        if isinstance(condition, Condition):
            value = parameters.bind(argument, condition.pg_type)
            made.append(f"({condition.sql.replace('{value}', value)})")
        else:
            made.append(f"({condition.true if argument.value else condition.false})")
    return made
