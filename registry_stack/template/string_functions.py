"""Heat's string functions, as plain functions of arguments that are already evaluated.

Each does what the class of the same name does in heat/engine/hot/functions.py (openstack-heat 27), except that a list
or a map is refused as text, where Heat writes JSON. They raise ValueError; the caller adds the place. No message
contains a value, since it may be a secret.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def str_replace(args: Any) -> str:
    """The template with every param inserted: the longest key first, inserted text never searched again."""
    return _replaced(args)[0]


def str_replace_strict(args: Any) -> str:
    """`str_replace` that refuses a param that is not in the template."""
    text, params, unused = _replaced(args)
    if unused:
        missing = ",".join(key for key, _value in params if key in unused)
        raise ValueError(f"the following params were not found in the template: {missing}")
    return text


def list_join(args: Any) -> str:
    """The items of a list joined by a delimiter; null is empty, a number is refused."""
    match args:
        case [str(delimiter), list(items)]:
            return delimiter.join(_join_item(number, item) for number, item in enumerate(items, 1))
    raise ValueError('needs [delimiter, list], for example [" ", [a, b]]')


def _join_item(number: int, item: Any) -> str:
    if isinstance(item, str | None):
        return item or ""
    raise ValueError(f"item {number} must be a string, not {type(item).__name__}")


def _replaced(args: Any) -> tuple[str, list[tuple[str, str]], set[str]]:
    """The text, the params in Heat's order, and the keys that were not in the template."""
    template, given = _arguments(args)
    # Longest first, equal lengths lexicographically.
    params = [(key, _text(key, given[key])) for key in sorted(sorted(given), key=len, reverse=True)]
    unused = {key for key, _value in params}
    return _replace(template, params, unused), params, unused


def _arguments(args: Any) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(args, Mapping) or "template" not in args or "params" not in args:
        raise ValueError('needs a mapping with "template" and "params"')
    if not isinstance(args["template"], str):
        raise ValueError("the template must be a string")
    if not isinstance(args["params"], Mapping):
        raise ValueError("params must be a mapping")
    if not all(isinstance(key, str) and key for key in args["params"]):
        raise ValueError("param placeholders must be non-empty strings")
    return args["template"], args["params"]


def _text(key: str, value: Any) -> str:
    if isinstance(value, str | int | float | None):
        return "" if value is None else str(value)
    raise ValueError(f"param {key} must be a string or a number")


def _replace(text: str, params: Sequence[tuple[str, str]], unused: set[str]) -> str:
    if not params:
        return text
    (key, value), rest = params[0], params[1:]
    pieces = text.split(key)
    if len(pieces) > 1:
        unused.discard(key)
    return value.join(_replace(piece, rest, unused) for piece in pieces)
