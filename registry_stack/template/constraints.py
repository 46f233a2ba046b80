"""Parameter types and constraints, checked as Heat checks them (heat/engine/constraints.py, parameters.py).

Functions raise ValueError with a phrase that follows "is" or "has"; `{value}` in it stands for the value, so
that the caller can leave a hidden one out.
"""

import ipaddress
import json
import re
from typing import Any

from oslo_utils.strutils import bool_from_string

from registry_stack.template.template import Constraint


def coerce(parameter_type: str, value: Any) -> Any:
    """The value in the parameter's type, as `get_param` gives it; raises ValueError."""
    return _CONVERTERS[parameter_type](value)


def check(constraint: Constraint, value: Any) -> None:
    """Raise ValueError when a typed value breaks a constraint.

    Of the custom constraints only net_cidr is checked; Heat asks the cloud for the others.
    """
    problem = _CHECKS[constraint.kind](constraint.definition, value)
    if problem and constraint.description:
        # Heat also shows the author's words instead of the built-in message.
        raise ValueError(f"{{value}} is refused: {' '.join(constraint.description.split())}")
    if problem:
        raise ValueError(problem)


def _string(value: Any) -> str:
    if isinstance(value, list | dict):
        raise ValueError(f"a string is needed, not a {type(value).__name__}")
    return str(value)


def _number(value: Any) -> int | float:
    if isinstance(value, int | float):
        return value
    for convert in (int, float):
        try:
            return convert(value)
        except (ValueError, TypeError):
            continue
    raise ValueError("{value} is not a number")


def _boolean(value: Any) -> bool:
    try:
        return bool(bool_from_string(str(value), strict=True))
    except ValueError:
        raise ValueError("{value} is neither true nor false") from None


def _list(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    if not isinstance(value, str):
        raise ValueError("{value} is not a list nor a comma-delimited string")
    return value.split(",") if value else []


def _range(definition: Any, value: Any) -> str:
    return "" if _within(definition, value) else f"{{value}} is out of range ({_bounds(definition)})"


def _length(definition: Any, value: Any) -> str:
    problem = f"length {len(value)} is out of range ({_bounds(definition)})"
    return "" if _within(definition, len(value)) else problem


def _within(definition: dict[str, Any], value: float) -> bool:
    low, high = definition.get("min"), definition.get("max")
    return (low is None or value >= low) and (high is None or value <= high)


def _bounds(definition: dict[str, Any]) -> str:
    given = [name for name in ("min", "max") if definition.get(name) is not None]
    return ", ".join(f"{name}: {definition[name]}" for name in given)


def _allowed_values(definition: Any, value: Any) -> str:
    return (
        "" if value in definition else f"{{value}} is not one of {', '.join(json.dumps(item) for item in definition)}"
    )


def _allowed_pattern(definition: Any, value: Any) -> str:
    # Not fullmatch: Heat matches from the start and then asks whether that was everything.
    match = re.match(definition, value)
    matches = match and match.end() == len(value)
    return "" if matches else f'{{value}} does not match the pattern "{definition}"'


def _custom(definition: Any, value: Any) -> str:
    if definition != "net_cidr" or _is_cidr(value):
        return ""
    return "{value} is not a network in CIDR form, such as 192.0.2.0/24"


def _is_cidr(value: str) -> bool:
    """An address and a prefix length; Neutron itself clears the bits beyond the prefix (validate_subnet)."""
    try:
        network = ipaddress.ip_interface(value)
    except ValueError:
        return False
    return "/" in value and (network.version == 6 or str(network) == value)


_CONVERTERS = {
    "string": _string,
    "number": _number,
    "boolean": _boolean,
    "comma_delimited_list": _list,
}
_CHECKS = {
    "range": _range,
    "length": _length,
    "allowed_values": _allowed_values,
    "allowed_pattern": _allowed_pattern,
    "custom_constraint": _custom,
}
