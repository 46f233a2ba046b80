"""Heat's string functions, as plain functions of already evaluated arguments.

Each does what the class of the same name does in heat/engine/hot/functions.py (openstack-heat 27); the unit
tests compare them with those classes. They raise ValueError without a place; the caller adds it.
No message holds a value: it may be a secret.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Replace:
    """`str_replace` and its two strict kinds: the longest key first, inserted text never looked at again."""

    name: str
    strict: bool = False
    allow_empty: bool = True

    def __call__(self, args: Any) -> str:
        """The template with every param inserted; raises ValueError as Heat's Replace classes do."""
        template, params = self._arguments(args)
        # Heat's order: longest first, equal lengths lexicographically.
        keys = sorted(sorted(params), key=len, reverse=True)
        texts = [(key, self._text(key, params[key])) for key in keys]
        unused = set(keys)
        result = _replace(template, texts, unused)
        if self.strict and unused:
            missing = ",".join(key for key in keys if key in unused)
            raise ValueError(f"the following params were not found in the template: {missing}")
        return result

    def _arguments(self, args: Any) -> tuple[str, Mapping[str, Any]]:
        if not isinstance(args, Mapping) or "template" not in args or "params" not in args:
            raise ValueError('needs a mapping with "template" and "params"')
        if not isinstance(args["template"], str):
            raise ValueError("the template must be a string")
        if not isinstance(args["params"], Mapping):
            raise ValueError("params must be a mapping")
        if not all(isinstance(key, str) and key for key in args["params"]):
            raise ValueError("param placeholders must be non-empty strings")
        return args["template"], args["params"]

    def _text(self, key: str, value: Any) -> str:
        text = "" if value is None else self._present(key, value)
        # Heat counts a list or map by its length, so "[]" is empty although its text is not.
        empty = not text or (isinstance(value, Mapping | list | tuple) and not value)
        if empty and not self.allow_empty:
            raise ValueError(f"the value for param {key} is undefined or empty, must be a defined non-empty value")
        return text

    def _present(self, key: str, value: Any) -> str:
        if isinstance(value, str | int | float):
            return str(value)
        return _json(value, f"param {key} must be a string, number, list or map")


def _replace(text: str, params: Sequence[tuple[str, str]], unused: set[str]) -> str:
    if not params:
        return text
    (key, value), rest = params[0], params[1:]
    pieces = text.split(key)
    if len(pieces) > 1:
        unused.discard(key)
    return value.join(_replace(piece, rest, unused) for piece in pieces)


def _json(value: Any, complaint: str) -> str:
    if isinstance(value, Mapping | Sequence):
        try:
            # oslo's jsonutils.dumps(value, default=None, sort_keys=True)
            return json.dumps(value, sort_keys=True)
        except TypeError:
            pass
    raise ValueError(complaint)


def list_join(args: Any) -> str:
    """`list_join` (Heat's JoinMultiple): null is empty, lists and maps become JSON, a number is refused."""
    if not isinstance(args, list) or len(args) < 2:
        raise ValueError('needs [delimiter, list, ...], for example [" ", [a, b]]')
    delimiter, *lists = args
    items: list[Any] = []
    for joined in lists:
        if joined and (isinstance(joined, str) or not isinstance(joined, Sequence)):
            raise ValueError("must operate on lists")
        items += joined or []
    if not isinstance(delimiter, str):
        raise ValueError("the delimiter must be a string")
    return delimiter.join(_join_item(number, item) for number, item in enumerate(items, 1))


def _join_item(number: int, item: Any) -> str:
    if item is None:
        return ""
    if isinstance(item, str):
        return item
    return _json(item, f"item {number} must be a string, map or list, not {type(item).__name__}")


def str_split(args: Any) -> Any:
    """`str_split`: [delimiter, string] gives the list, [delimiter, string, index] one item of it."""
    if not isinstance(args, list) or len(args) < 2:
        raise ValueError('needs [delimiter, string] or [delimiter, string, index], such as [",", "a,b", 0]')
    delimiter, text, *index = args
    if text is None:
        return None
    if not isinstance(text, str) or not isinstance(delimiter, str | None) or delimiter == "":
        raise ValueError("the delimiter and the string must be strings, the delimiter not empty")
    pieces = text.split(delimiter)
    return _item(pieces, index[0]) if index else pieces


def _item(pieces: list[str], index: Any) -> str:
    try:
        return pieces[int(index)]
    except (ValueError, TypeError, IndexError):
        raise ValueError(f"the index must be between 0 and {len(pieces) - 1}") from None
