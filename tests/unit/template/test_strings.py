"""str_replace and list_join compared with Heat's own classes, and the cases of Heat's documentation."""

from collections.abc import Callable
from typing import Any

import pytest
from heat.engine.hot import functions as heat
from hypothesis import example, given
from hypothesis import strategies as st

from registry_stack.template.string_functions import list_join, str_replace, str_replace_strict

KINDS = {
    "str_replace": (heat.ReplaceJson, str_replace),
    "str_replace_strict": (heat.ReplaceJsonStrict, str_replace_strict),
}
# Few letters, so that keys overlap each other, the template and the values.
TEXT = st.text(alphabet="ab@\n'", max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT


def outcome(call: Callable[[], Any]) -> Any:
    """A result, or that there was an error: texts of errors are our own."""
    try:
        return call()
    except (ValueError, TypeError, KeyError, AttributeError):
        return "an error"


def assert_same(heat_class: Any, ours: Callable[[Any], Any], args: Any) -> None:
    # Heat's classes take some lists apart in place: each side gets its own.
    theirs = list(args) if isinstance(args, list) else args
    assert outcome(lambda: ours(args)) == outcome(lambda: heat_class(None, "f", theirs).result())


@pytest.mark.parametrize("kind", KINDS)
@given(template=TEXT | SCALARS, params=st.dictionaries(TEXT, SCALARS, max_size=5) | SCALARS)
@example(template="aab", params={"a": "b", "aa": "a", "b": "a"})
def test_replace_equals_heats(kind: str, template: Any, params: Any) -> None:
    assert_same(*KINDS[kind], {"template": template, "params": params})


@pytest.mark.parametrize("kind", KINDS)
@given(params=st.dictionaries(TEXT.filter(bool), SCALARS, min_size=1, max_size=5), data=st.data())
def test_replace_of_present_keys_equals_heats(kind: str, params: dict[str, Any], data: st.DataObject) -> None:
    pieces = data.draw(st.permutations([*params, *params, "b"]))
    assert_same(*KINDS[kind], {"template": "".join(pieces), "params": params})


@given(st.tuples(SCALARS, st.lists(SCALARS, max_size=4)).map(list) | SCALARS)
@example([",", ["a", None]])
@example([",", ["a", 1]])
def test_list_join_equals_heats(args: Any) -> None:
    assert_same(heat.JoinMultiple, list_join, args)


# docs.openstack.org/heat/latest/template_guide/hot_spec.html, str_replace and its strict kinds
@pytest.mark.parametrize(
    ("template", "params", "expected"),
    [
        ("http://host/MyWordpress", {"host": "192.0.2.1"}, "http://192.0.2.1/MyWordpress"),
        ("%a% %b%", {"%a%": "%b%", "%b%": "x"}, "%b% x"),
        ("foobar foo", {"foo": "1", "foobar": "2"}, "2 1"),
        ("n=N", {"N": 5}, "n=5"),
        ("b=B", {"B": True}, "b=True"),
        ("[N]", {"N": None}, "[]"),
    ],
)
def test_documented_cases(template: str, params: dict[str, Any], expected: str) -> None:
    assert str_replace({"template": template, "params": params}) == expected


@pytest.mark.parametrize(
    ("kind", "args", "message"),
    [
        ("str_replace", [], 'needs a mapping with "template" and "params"'),
        ("str_replace", {"template": 1, "params": {}}, "the template must be a string"),
        ("str_replace", {"template": "", "params": []}, "params must be a mapping"),
        ("str_replace", {"template": "", "params": {1: "a"}}, "param placeholders must be non-empty strings"),
        (
            "str_replace_strict",
            {"template": "x", "params": {"a": "1", "bb": "secret"}},
            "the following params were not found in the template: bb,a",
        ),
        (
            "str_replace",
            {"template": "a", "params": {"a": ["b"]}},
            "param a must be a string or a number",
        ),
    ],
)
def test_replace_messages(kind: str, args: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        KINDS[kind][1](args)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["", ["a", 5]], "item 2 must be a string, not int"),
        (["", ["a", ["b"]]], "item 2 must be a string, not list"),
        (["", "ab"], 'needs [delimiter, list], for example [" ", [a, b]]'),
        ([1, []], 'needs [delimiter, list], for example [" ", [a, b]]'),
    ],
)
def test_join_messages(args: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        list_join(args)
    assert str(error.value) == message
