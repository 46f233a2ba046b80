"""The user's input: environment files and single parameters, as `openstack stack create` takes them."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heatclient.common.environment_format import (
    PARAMETER_DEFAULTS,
    PARAMETER_MERGE_STRATEGIES,
    PARAMETERS,
    SECTIONS,
)
from heatclient.common.utils import format_parameters
from heatclient.exc import CommandError

from registry_stack.errors import RegistryStackError
from registry_stack.template.yaml_loader import load_yaml

OPTION = "-P"


@dataclass(frozen=True)
class SourcedValue:
    """A value and its source: the name of an environment file, or `-P`."""

    value: Any
    source: str


@dataclass(frozen=True)
class Environment:
    """All environment files and options merged: `parameters` win over `defaults`, later values over earlier ones.

    `ignored` names the sections with content that only a Heat engine can use.
    """

    parameters: dict[str, SourcedValue]
    defaults: dict[str, SourcedValue]
    files: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read_environment(files: Sequence[Path] = (), options: Sequence[str] = ()) -> Environment:
    """Read environment files in order, then the `-P` options, which win.

    Raises RegistryStackError naming file, line and column, or the option.
    """
    parameters: dict[str, SourcedValue] = {}
    defaults: dict[str, SourcedValue] = {}
    ignored: list[str] = []
    for path in files:
        document = _document(path)
        parameters |= _section(path, document, PARAMETERS)
        defaults |= _section(path, document, PARAMETER_DEFAULTS)
        _check_merge_strategies(path, document.get(PARAMETER_MERGE_STRATEGIES))
        known = {PARAMETERS, PARAMETER_DEFAULTS, PARAMETER_MERGE_STRATEGIES}
        ignored += [f"{path}: {name}" for name, body in document.items() if body and name not in known]
    parameters |= {name: SourcedValue(value, OPTION) for name, value in parse_options(options).items()}
    return Environment(parameters, defaults, tuple(str(path) for path in files), tuple(ignored))


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """`name=value` options, split as in python-heatclient: a single option may contain several, separated by `;`.

    A name given twice becomes a list, as there. Raises RegistryStackError for an option without `=`.
    """
    try:
        values: dict[str, Any] = format_parameters(list(options))
        return values
    except CommandError:
        pass  # heatclient's message quotes the text, which may be part of a password
    if len(options) == 1 and ";" in options[0]:
        hint = 'a ";" in a single -P separates parameters: put such a value in an environment file'
        raise RegistryStackError(f"{OPTION}: a part after a semicolon is not name=value; {hint}")
    number = next(number for number, option in enumerate(options, 1) if "=" not in option)
    raise RegistryStackError(f"{OPTION} number {number} is not name=value")


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean "…"?` when a known name is close, otherwise nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _document(path: Path) -> dict[str, Any]:
    document = load_yaml(path, "environment file")
    if document is None:
        return {}
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise RegistryStackError(f'{path}: an environment file is a mapping with "parameters:" in it, not a {kind}')
    for name, body in document.items():
        if name not in SECTIONS:
            hint = suggestion(str(name), SECTIONS) or f"; known are {', '.join(SECTIONS)}"
            raise RegistryStackError(f'{path}: unknown top-level key "{name}"{hint}')
        if body is None:  # refused by Heat as well (heat/common/environment_format.py, validate)
            raise RegistryStackError(f'{path}: section "{name}" is empty; remove it or fill it')
    return document


def _section(path: Path, document: dict[str, Any], name: str) -> dict[str, SourcedValue]:
    body = document.get(name, {})
    if not isinstance(body, dict):
        raise RegistryStackError(f'{path}: section "{name}" must be a mapping of name: value')
    return {str(key): SourcedValue(value, str(path)) for key, value in body.items()}


def _check_merge_strategies(path: Path, strategies: Any) -> None:
    """Only Heat's default is implemented; anything else would change values silently."""
    if not strategies or (isinstance(strategies, dict) and set(strategies.values()) == {"overwrite"}):
        return
    raise RegistryStackError(f'{path}: {PARAMETER_MERGE_STRATEGIES} other than "overwrite" are not supported')
