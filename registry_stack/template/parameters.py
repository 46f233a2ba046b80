"""Resolves the value of every parameter from the user's input, typed and checked as in Heat."""

import json
from collections.abc import Mapping
from typing import Any

from registry_stack.errors import RegistryStackError
from registry_stack.product import EXAMPLE, shown
from registry_stack.template.constraints import check, coerce
from registry_stack.template.environment import OPTION, Environment, SourcedValue, suggestion
from registry_stack.template.template import Parameter, Template

_LONGEST_SHOWN = 60


def resolve_parameters(
    template: Template, environment: Environment, fallback: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The value of every parameter of the template, by name.

    The first source that has a value wins: `parameters` (and `-P`), `parameter_defaults`, `fallback` (the target's own
    values), the template's default. As in Heat, null is no value.
    Raises RegistryStackError with one line: all unknown parameters, all missing ones, or a value that breaks its type
    or a constraint. The message never contains a hidden parameter's value.
    """
    _refuse_unknown(template, environment)
    given = _given(template, environment, fallback or {})
    _refuse_missing(template, environment, given)
    return {name: _value(parameter, given[name]) for name, parameter in template.parameters.items()}


def _given(template: Template, environment: Environment, fallback: Mapping[str, Any]) -> dict[str, SourcedValue]:
    """Every given value by name; later sources win."""
    defaults = {name: SourcedValue(item.default, "the template") for name, item in template.parameters.items()}
    filled = {name: SourcedValue(value, "a default of the target") for name, value in fallback.items()}
    found: dict[str, SourcedValue] = {}
    for source in (defaults, filled, environment.defaults, environment.parameters):
        found |= {name: given for name, given in source.items() if given.value is not None}
    return found


def _refuse_unknown(template: Template, environment: Environment) -> None:
    """As in Heat, only `parameters` must be known; `parameter_defaults` may be meant for other templates."""
    problems = [
        f'unknown parameter "{name}" ({given.source}){suggestion(name, template.parameters)}'
        for name, given in environment.parameters.items()
        if name not in template.parameters
    ]
    if problems:
        raise RegistryStackError(" | ".join(problems))


def _refuse_missing(template: Template, environment: Environment, given: Mapping[str, SourcedValue]) -> None:
    missing = [name for name in template.parameters if name not in given]
    if not missing:
        return
    noun = "parameter" if len(missing) == 1 else "parameters"
    where = f"add to {environment.files[-1]}" if environment.files else "give an environment file with -e"
    raise RegistryStackError(
        f"missing {noun}: {', '.join(missing)}; {where} or use {OPTION} name=value (example: {shown(EXAMPLE)})"
    )


def _value(parameter: Parameter, given: SourcedValue) -> Any:
    try:
        value = coerce(parameter.type, given.value)
        for constraint in parameter.constraints:
            check(constraint, value)
        return value
    except ValueError as error:
        shown = "the value" if parameter.hidden else _shown(given.value)
        problem = str(error).replace("{value}", shown)
        raise RegistryStackError(f'parameter "{parameter.name}" ({given.source}): {problem}') from None


def _shown(value: Any) -> str:
    """Quoted, on one line, and truncated."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
