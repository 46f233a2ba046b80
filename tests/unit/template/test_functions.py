"""The evaluator compared with Heat's own parser and functions, and its messages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from heat.engine.hot import template as heat_template
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from registry_stack.errors import RegistryStackError
from registry_stack.template.functions import (
    SUPPORTED,
    SUPPORTED_IN_CONDITIONS,
    UNSUPPORTED,
    UNSUPPORTED_IN_CONDITIONS,
    Scope,
)
from registry_stack.template.template import Parameter, Template
from tests.unit.template.conftest import MakeTemplate
from tests.unit.template.heat_reference import ERRORS, PROJECT, STACK, HeatReference
from tests.unit.template.repository import Product

PARAMETERS: dict[str, dict[str, Any]] = {
    "word": {"type": "string", "default": "w'@A@"},
    "empty": {"type": "string", "default": ""},
    "flag": {"type": "boolean", "default": False},
    "size": {"type": "number", "default": 0},
    "names": {"type": "comma_delimited_list", "default": "a,b"},
}
VALUES: dict[str, Any] = {
    "word": "w'@A@",
    "empty": "",
    "flag": False,
    "size": 0,
    "names": ["a", "b"],
    "OS::project_id": PROJECT,
    "OS::stack_name": STACK,
}
REFERENCES: dict[tuple[str, ...], Any] = {
    ("server",): "server-id",
    ("server", "name"): "web",
    ("server", "nothing"): None,
}
CONDITIONS: dict[str, Any] = {
    "flagged": {"get_param": "flag"},
    "zero": {"equals": [{"get_param": "size"}, 0]},
    "not_zero": {"not": "zero"},
    "both": {"and": ["zero", {"not": "flagged"}]},
    "no_word": {"equals": [{"get_param": "word"}, ""]},
}
DOCUMENT = {
    "heat_template_version": "2018-08-31",
    "parameters": PARAMETERS,
    "conditions": CONDITIONS,
    "resources": {"server": {"type": "OS::Heat::TestResource"}},
}


def scope(conditions: dict[str, Any] | None = None) -> Scope:
    parameters = {name: Parameter(name, body["type"], body["default"]) for name, body in PARAMETERS.items()}
    template = Template(
        path=Path("t.yaml"),
        parameters=parameters,
        conditions=CONDITIONS if conditions is None else conditions,
        resources=DOCUMENT["resources"],  # type: ignore[arg-type]
    )
    return Scope(template, VALUES, REFERENCES)


def functions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One more level of functions, lists and maps."""
    params = st.dictionaries(st.sampled_from(["a", "@A@", "w", "'"]), inner, max_size=3)
    replace = st.fixed_dictionaries({"template": inner, "params": params})
    condition = st.sampled_from([*CONDITIONS, "unknown", True, False, None]) | conditions()
    return st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2),
        st.sampled_from(["str_replace", "str_replace_strict"]).flatmap(
            lambda name: replace.map(lambda args: {name: args})
        ),
        st.tuples(inner, st.lists(inner, max_size=3)).map(lambda args: {"list_join": [*args]}),
        st.tuples(condition, inner, inner).map(lambda args: {"if": [*args]}),
        st.tuples(condition, inner).map(lambda args: {"if": [*args]}),
    )


def conditions() -> st.SearchStrategy[Any]:
    base = st.sampled_from([*CONDITIONS, True, False])
    return st.recursive(
        base | st.tuples(leaves(), leaves()).map(lambda args: {"equals": [*args]}),
        lambda inner: inner.map(lambda arg: {"not": arg}) | st.lists(inner, max_size=3).map(lambda args: {"and": args}),
        max_leaves=4,
    )


def leaves() -> st.SearchStrategy[Any]:
    names = [*VALUES, "absent"]
    return st.one_of(
        st.sampled_from(["", "a", "@A@ w", "'w'", None, True, 0, 1.5]),
        st.sampled_from(names).map(lambda name: {"get_param": name}),
    )


def references() -> st.SearchStrategy[Any]:
    attributes = [["server", "name"], ["server", "nothing"], ["server", "gone"], ["other", "name"]]
    return st.sampled_from(attributes).map(lambda name: {"get_attr": name}) | st.sampled_from(
        [{"get_resource": "server"}, {"get_resource": "other"}]
    )


def texts(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Functions that succeed, from text to text, as a template uses them."""
    params = st.dictionaries(st.sampled_from(["a", "@A@", "w", "'"]), inner, max_size=3)
    arms = st.tuples(st.sampled_from([*CONDITIONS, True, False]), inner, inner)
    return st.one_of(
        st.tuples(inner, params).map(lambda args: {"str_replace": {"template": args[0], "params": args[1]}}),
        st.lists(inner, max_size=3).map(lambda items: {"list_join": ["a", items]}),
        arms.map(lambda args: {"if": [*args]}),
    )


WORDS = st.sampled_from(["word", "empty", "OS::project_id", "OS::stack_name"])
SNIPPETS = st.recursive(leaves() | references(), functions, max_leaves=8)


def outcome(evaluate: Any, snippet: Any) -> Any:
    try:
        return evaluate(snippet)
    except (RegistryStackError, *ERRORS) as error:
        # A list or a map as text is refused here, where Heat writes JSON.
        assume("must be a string" not in str(error))
        return "an error"


@settings(max_examples=400)
@given(snippet=SNIPPETS)
def test_functions_evaluate_as_in_heat(snippet: Any) -> None:
    ours = outcome(lambda s: scope().evaluate(s, "x"), snippet)
    assert ours == outcome(HeatReference(DOCUMENT, references=REFERENCES).evaluate, snippet)


@settings(max_examples=200)
@given(
    snippet=st.recursive(
        st.sampled_from(["", "a@A@w", "'w'", {"get_attr": ["server", "name"]}, {"get_resource": "server"}])
        | WORDS.map(lambda name: {"get_param": name}),
        texts,
        max_leaves=8,
    )
)
def test_text_functions_evaluate_as_in_heat(snippet: Any) -> None:
    ours = scope().evaluate(snippet, "x")
    assert isinstance(ours, str)
    assert ours == HeatReference(DOCUMENT, references=REFERENCES).evaluate(snippet)


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_evaluate_as_in_heat(name: str) -> None:
    ours = scope().condition(name, "x")
    assert ours == HeatReference(DOCUMENT).evaluate({"if": [name, True, False]})


def test_every_function_of_heat_is_evaluated_or_refused() -> None:
    """None is taken for plain data."""
    version = heat_template.HOTemplate20180831
    assert set(version.functions) == SUPPORTED | UNSUPPORTED
    assert set(version.condition_functions) == SUPPORTED_IN_CONDITIONS | UNSUPPORTED_IN_CONDITIONS
    assert SUPPORTED.isdisjoint(UNSUPPORTED)
    assert SUPPORTED_IN_CONDITIONS.isdisjoint(UNSUPPORTED_IN_CONDITIONS)


def test_the_template_uses_every_supported_function(product: Product) -> None:
    template = product.template
    assert set(keys_in([template.resources, template.outputs])) & (SUPPORTED | UNSUPPORTED) == SUPPORTED
    assert set(keys_in(template.conditions)) >= SUPPORTED_IN_CONDITIONS


def keys_in(snippet: Any) -> Iterator[str]:
    """Every key of the mappings in a piece of template."""
    values = snippet.values() if isinstance(snippet, dict) else snippet if isinstance(snippet, list) else ()
    for value in values:
        yield from keys_in(value)
    if isinstance(snippet, dict):
        yield from snippet


@pytest.mark.parametrize(
    ("snippet", "message"),
    [
        ({"get_param": "absent"}, 't.yaml: x.get_param: unknown parameter "absent"'),
        ({"get_param": []}, "t.yaml: x.get_param: needs a parameter's name"),
        ({"a": [{"get_param": "b"}]}, 't.yaml: x.a[0].get_param: unknown parameter "b"'),
        ({"get_attr": ["server"]}, "t.yaml: x.get_attr: needs [resource, attribute]"),
        (
            {"get_attr": ["server", "ip"]},
            't.yaml: x.get_attr: attribute "ip" of resource "server" has no value here',
        ),
        (
            {"get_attr": ["sever", "ip"]},
            't.yaml: x.get_attr: attribute "ip" of resource "sever" is used, but the template has no resource "sever"',
        ),
        (
            {"get_resource": "port"},
            't.yaml: x.get_resource: resource "port" is used, but the template has no resource "port"',
        ),
        (
            {"get_file": {"get_param": "word"}},
            "t.yaml: x.get_file: needs a literal file name, relative to the template",
        ),
        ({"get_file": "absent.yaml"}, "file named by get_file: absent.yaml not found"),
        (
            {"digest": ["md5", "a"]},
            "t.yaml: x.digest: this function is not supported here; supported: get_attr, get_file, get_param,"
            " get_resource, if, list_join, str_replace, str_replace_strict",
        ),
        ({"if": ["zero", 1]}, "t.yaml: x.if: needs [condition, value if true, value if false]"),
        ({"if": ["zeroo", 1, 2]}, 't.yaml: x.if[0]: invalid condition "zeroo"'),
        (
            {"if": [{"get_attr": ["server", "name"]}, 1, 2]},
            "t.yaml: x.if[0].get_attr: this function is not supported here; supported: and, equals, get_param, not",
        ),
        ({"if": [{"equals": [1]}, 1, 2]}, "t.yaml: x.if[0].equals: needs [value, value]"),
        ({"if": [{"and": ["zero"]}, 1, 2]}, "t.yaml: x.if[0].and: needs two conditions or more"),
        (
            {"str_replace_strict": {"template": "", "params": {"k": "v"}}},
            "t.yaml: x.str_replace_strict: the following params were not found in the template: k",
        ),
        (
            {"list_join": ["", [{"get_param": "size"}]]},
            "t.yaml: x.list_join: item 1 must be a string, not int",
        ),
    ],
)
def test_messages(snippet: Any, message: str) -> None:
    with pytest.raises(RegistryStackError) as error:
        scope().evaluate(snippet, "x")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("loop", "t.yaml: conditions.loop: must be true or false, not a str"),
        ({"not": "loop"}, "t.yaml: conditions.loop: the definition is circular"),
        ({"get_param": "word"}, "t.yaml: conditions.loop: must be true or false, not a str"),
    ],
)
def test_messages_of_conditions(definition: Any, message: str) -> None:
    with pytest.raises(RegistryStackError) as error:
        scope(conditions={"loop": definition}).condition("loop", "x")
    assert str(error.value) == message


def test_only_the_branch_taken_is_evaluated() -> None:
    assert scope().evaluate({"if": ["zero", "yes", {"get_resource": "absent"}]}, "x") == "yes"


def test_get_file_is_relative_to_the_template_and_byte_exact(make_template: MakeTemplate) -> None:
    template = make_template("", other="a\r\n\tb ü\n")
    assert Scope(template, {}, {}).evaluate({"get_file": "other.yaml"}, "x") == "a\n\tb ü\n".replace("\n\t", "\r\n\t")
