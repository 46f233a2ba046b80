"""From what the user gave to the value of every parameter, typed and checked as Heat does it."""

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

    Taken from, first wins: `parameters` (and `-P`), `parameter_defaults`, `fallback` (what a target fills in
    for the user), the template's default. A null counts as not given, as in Heat.
    Raises RegistryStackError, one line: unknown parameters, missing ones (all at once), a value that breaks its
    type or a constraint. A hidden parameter's value is never in the message.
    """
    _refuse_unknown(template, environment)
    given = _given(template, environment, fallback or {})
    _refuse_missing(template, environment, given)
    return {name: _value(parameter, given[name]) for name, parameter in template.parameters.items()}


def check_default(parameter: Parameter) -> None:
    """Raise RegistryStackError when a parameter's own default breaks its type or constraints; fine without one."""
    if not parameter.required:
        _value(parameter, SourcedValue(parameter.default, "the template"))


def _given(template: Template, environment: Environment, fallback: Mapping[str, Any]) -> dict[str, SourcedValue]:
    """Every value there is, by name, weakest source first."""
    defaults = {name: SourcedValue(item.default, "the template") for name, item in template.parameters.items()}
    filled = {name: SourcedValue(value, "the target's own value") for name, value in fallback.items()}
    found: dict[str, SourcedValue] = {}
    for source in (defaults, filled, environment.defaults, environment.parameters):
        found |= {name: given for name, given in source.items() if given.value is not None}
    return found


def _refuse_unknown(template: Template, environment: Environment) -> None:
    """As Heat: only `parameters` must be known; `parameter_defaults` may be meant for other templates."""
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
    """One line, quoted, and not endless."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
