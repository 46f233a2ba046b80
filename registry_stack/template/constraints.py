"""Parameter types and constraints, checked as Heat checks them (heat/engine/constraints.py, parameters.py).

Functions raise ValueError with a phrase that follows "is" or "has"; `{value}` in it stands for the value, so
that the caller can leave a hidden one out.
"""

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Any

from oslo_utils.strutils import bool_from_string

from registry_stack.template.template import Constraint

# heat/common/netutils.py
_DNS_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_FQDN_MAX = 255


def coerce(parameter_type: str, value: Any) -> Any:
    """The value in the parameter's type, as `get_param` gives it; raises ValueError."""
    return _CONVERTERS[parameter_type](value)


def check(constraint: Constraint, parameter_type: str, value: Any) -> None:
    """Raise ValueError when a typed value breaks a constraint.

    Of custom constraints only those without a cloud behind them are checked; the others are Heat's to check.
    """
    try:
        problem = _CHECKS[constraint.kind](constraint.definition, parameter_type, value)
    except TypeError:  # such as the length of a JSON number
        problem = f"{{value}} cannot be checked for {constraint.kind}"
    if problem and constraint.description:
        # Heat shows the author's words instead of its own, too.
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


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return json.loads(json.dumps(value))
    try:
        return json.loads(value) if value else value
    except ValueError:
        raise ValueError("{value} is not JSON") from None


def _range(definition: Any, _: str, value: Any) -> str:
    return "" if _within(definition, value) else f"{{value}} is out of range ({_bounds(definition)})"


def _length(definition: Any, _: str, value: Any) -> str:
    problem = f"length {len(value)} is out of range ({_bounds(definition)})"
    return "" if _within(definition, len(value)) else problem


def _within(definition: dict[str, Any], value: float) -> bool:
    low, high = definition.get("min"), definition.get("max")
    return (low is None or value >= _number(low)) and (high is None or value <= _number(high))


def _bounds(definition: dict[str, Any]) -> str:
    given = [name for name in ("min", "max") if definition.get(name) is not None]
    return ", ".join(f"{name}: {definition[name]}" for name in given)


def _modulo(definition: Any, _: str, value: Any) -> str:
    step, offset = _number(definition["step"]), _number(definition["offset"])
    problem = f"{{value}} is not a multiple of {step} with an offset of {offset}"
    return "" if value % step == offset else problem


def _allowed_values(definition: Any, parameter_type: str, value: Any) -> str:
    if isinstance(value, list):
        allowed = all(item in definition for item in value)
    else:
        allowed = value in [coerce(parameter_type, item) for item in definition]
    return "" if allowed else f"{{value}} is not one of {', '.join(json.dumps(item) for item in definition)}"


def _allowed_pattern(definition: Any, _: str, value: Any) -> str:
    # Not fullmatch: Heat matches from the start and then asks whether that was everything.
    match = re.match(definition, value)
    matches = match and match.end() == len(value)
    return "" if matches else f'{{value}} does not match the pattern "{definition}"'


def _custom(definition: Any, _: str, value: Any) -> str:
    if definition not in _LOCAL:
        return ""
    is_valid, problem = _LOCAL[definition]
    return "" if is_valid(value) else f"{{value}} is {problem}"


def _is_cidr(value: str) -> bool:
    """An address and a prefix length; bits beyond the prefix are Neutron's to cut (validate_subnet)."""
    try:
        network = ipaddress.ip_interface(value)
    except ValueError:
        return False
    return "/" in value and (network.version == 6 or str(network) == value)


def _is_address(value: str) -> bool:
    try:
        return str(ipaddress.ip_address(value)) != ""
    except ValueError:
        return False


def _is_dns_name(value: str) -> bool:
    if not value:
        return True
    labels = value.removesuffix(".").split(".")
    if value.endswith(".") and len(labels) > 1 and labels[-1].isdigit():
        return False  # RFC 1123: a top-level domain is never all digits
    fits = len(value.removesuffix(".")) <= _FQDN_MAX
    return fits and all(_DNS_LABEL.fullmatch(label) is not None for label in labels)


_LOCAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "net_cidr": (_is_cidr, "not a network in CIDR form, such as 192.0.2.0/24"),
    "ip_addr": (_is_address, "not an IP address"),
    "dns_name": (_is_dns_name, "not a DNS name (lower-case letters, digits and dashes)"),
}


_CONVERTERS = {
    "string": _string,
    "number": _number,
    "boolean": _boolean,
    "comma_delimited_list": _list,
    "json": _json,
}
_CHECKS = {
    "range": _range,
    "length": _length,
    "modulo": _modulo,
    "allowed_values": _allowed_values,
    "allowed_pattern": _allowed_pattern,
    "custom_constraint": _custom,
}
