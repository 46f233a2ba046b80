"""Resolving parameters, compared with Heat, and every message."""

from typing import Any

import pytest
from heat.common import exception
from heat.engine.hot import parameters as heat
from heat.engine.parameters import Parameter as HeatParameter
from hypothesis import given
from hypothesis import strategies as st

from registry_stack.errors import RegistryStackError
from registry_stack.template.constraints import check, coerce
from registry_stack.template.environment import Environment, SourcedValue
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import Constraint
from tests.unit.template.conftest import MakeTemplate

BODY = """
parameters:
  hostname: {type: string}
  os_password: {type: string, hidden: true, constraints: [{length: {min: 6, max: 8}}]}
  size:
    type: number
    default: 5
    constraints: [{range: {min: 1, max: 10}}]
  driver:
    type: string
    default: swift
    constraints: [{allowed_values: [swift, s3]}]
  name:
    type: string
    default: a
    constraints:
      - {allowed_pattern: '[a-z]+', description: "lower-case\\n  letters only"}
  zone: {type: string, default: z., constraints: [{allowed_pattern: '[a-z]+\\.'}]}
  flag: {type: boolean, default: false}
  list: {type: comma_delimited_list, default: 'a,b'}
  cidr: {type: string, default: 0.0.0.0/0, constraints: [{custom_constraint: net_cidr}]}
  image: {type: string, default: i, constraints: [{custom_constraint: glance.image}]}
  pin: {type: string, hidden: true, default: '', constraints: [{allowed_pattern: '[0-9]*'}]}
"""
GIVEN = {"hostname": "h", "os_password": "secret"}


def environment(*files: str, **given: Any) -> Environment:
    source = files[-1] if files else "-P"
    return Environment({name: SourcedValue(value, source) for name, value in given.items()}, {}, files)


def resolve(make_template: MakeTemplate, **given: Any) -> dict[str, Any]:
    return resolve_parameters(make_template(BODY), environment(**{**GIVEN, **given}))


def test_defaults_are_typed(make_template: MakeTemplate) -> None:
    values = resolve(make_template)
    assert values["size"] == 5
    assert values["flag"] is False
    assert values["list"] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("hostname", 5, "5"),
        ("hostname", True, "True"),
        ("size", "7", 7),
        ("size", "2.5", 2.5),
        ("flag", "Yes", True),
        ("flag", "0", False),
        ("flag", 1, True),
        ("list", "", []),
        ("list", "x", ["x"]),
        ("list", ["x", 1], ["x", "1"]),
        ("image", "whatever the cloud says", "whatever the cloud says"),
        ("driver", None, "swift"),
    ],
)
def test_types(make_template: MakeTemplate, name: str, given: Any, expected: Any) -> None:
    assert resolve(make_template, **{name: given})[name] == expected


def test_precedence(make_template: MakeTemplate) -> None:
    template = make_template(BODY)
    given = Environment(
        {"hostname": SourcedValue("p", "-P")}, {"hostname": SourcedValue("d", "e"), "driver": SourcedValue("s3", "e")}
    )
    fallback = {"hostname": "f", "driver": "swift", "os_password": "filled", "name": "filled"}
    values = resolve_parameters(template, given, fallback)
    assert [values[name] for name in ("hostname", "driver", "os_password", "name")] == [
        "p",
        "s3",
        "filled",
        "filled",
    ]


def test_unknown_parameter_defaults_are_ignored(make_template: MakeTemplate) -> None:
    given = Environment(environment(**GIVEN).parameters, {"else": SourcedValue(1, "e")})
    assert "else" not in resolve_parameters(make_template(BODY), given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hostnme": "h"}, 'unknown parameter "hostnme" (-P); did you mean "hostname"?'),
        ({"xyzzy": "h"}, 'unknown parameter "xyzzy" (-P)'),
        (
            {"sizes": 1, "flags": 1},
            'unknown parameter "sizes" (-P); did you mean "size"? | unknown parameter "flags" (-P);'
            ' did you mean "flag"?',
        ),
        ({"hostname": ["a", "b"]}, 'parameter "hostname" (-P): a string is needed, not a list'),
        ({"size": "big"}, 'parameter "size" (-P): "big" is not a number'),
        ({"size": [1]}, 'parameter "size" (-P): [1] is not a number'),
        ({"size": 11}, 'parameter "size" (-P): 11 is out of range (min: 1, max: 10)'),
        ({"size": "0"}, 'parameter "size" (-P): "0" is out of range (min: 1, max: 10)'),
        ({"flag": "maybe"}, 'parameter "flag" (-P): "maybe" is neither true nor false'),
        ({"list": 5}, 'parameter "list" (-P): 5 is not a list nor a comma-delimited string'),
        ({"driver": "s4"}, 'parameter "driver" (-P): "s4" is not one of "swift", "s3"'),
        ({"name": "A\n"}, 'parameter "name" (-P): "A\\n" is refused: lower-case letters only'),
        ({"zone": "abc"}, 'parameter "zone" (-P): "abc" does not match the pattern "[a-z]+\\."'),
        ({"zone": "abc.d"}, 'parameter "zone" (-P): "abc.d" does not match the pattern "[a-z]+\\."'),
        (
            {"cidr": "10.0.0.1"},
            'parameter "cidr" (-P): "10.0.0.1" is not a network in CIDR form, such as 192.0.2.0/24',
        ),
        ({"name": "A" * 99}, f'parameter "name" (-P): "{"A" * 58}… is refused: lower-case letters only'),
    ],
)
def test_messages(make_template: MakeTemplate, given: dict[str, Any], message: str) -> None:
    with pytest.raises(RegistryStackError) as error:
        resolve(make_template, **given)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"os_password": "tiny1"}, 'parameter "os_password" (-P): length 5 is out of range (min: 6, max: 8)'),
        ({"os_password": {"tiny1": 1}}, 'parameter "os_password" (-P): a string is needed, not a dict'),
        ({"pin": "tiny1"}, 'parameter "pin" (-P): the value does not match the pattern "[0-9]*"'),
    ],
)
def test_hidden_values_are_not_shown(make_template: MakeTemplate, given: dict[str, Any], message: str) -> None:
    with pytest.raises(RegistryStackError) as error:
        resolve(make_template, **given)
    assert str(error.value) == message
    assert "tiny1" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        (
            (),
            {},
            "missing parameters: hostname, os_password; give an environment file with -e or use -P name=value"
            " (example: heat/env.example.yaml)",
        ),
        (
            ("base.yaml", "env.yaml"),
            {"os_password": "secret"},
            "missing parameter: hostname; add to env.yaml or use -P name=value (example: heat/env.example.yaml)",
        ),
        (
            ("env.yaml",),
            {"os_password": "secret", "hostname": None},
            "missing parameter: hostname; add to env.yaml or use -P name=value (example: heat/env.example.yaml)",
        ),
    ],
)
def test_missing_parameters_are_listed(
    make_template: MakeTemplate, files: tuple[str, ...], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(RegistryStackError) as error:
        resolve_parameters(make_template(BODY), environment(*files, **given))
    assert str(error.value) == message


def test_message_names_the_file(make_template: MakeTemplate) -> None:
    with pytest.raises(RegistryStackError) as error:
        resolve_parameters(make_template(BODY), environment("e.yaml", **{**GIVEN, "size": "x"}))
    assert str(error.value) == 'parameter "size" (e.yaml): "x" is not a number'


CONSTRAINTS: dict[str, list[dict[str, Any]]] = {
    "string": [
        {"allowed_pattern": "a|ab"},
        {"allowed_pattern": "[ab]*"},
        {"length": {"min": 1, "max": 2}},
        {"allowed_values": ["a", "b"]},
        {"custom_constraint": "net_cidr"},
    ],
    "number": [
        {"range": {"min": 0, "max": 3}},
        {"range": {"max": 2.5}},
    ],
    "boolean": [],
    "comma_delimited_list": [{"length": {"max": 2}}],
}
CASES = [(kind, entry) for kind, entries in CONSTRAINTS.items() for entry in [None, *entries]]
ADDRESSES = st.sampled_from(
    [
        "10.0.0.0/8",
        "10.0.0.1/8",
        "10.0.0.0",
        "10.0.0.0/255.0.0.0",
        "::/0",
        "2001:db8::/32",
        "2001:db8::1",
        "/8",
        "",
    ]
)
TEXTS = st.text("ab,1", max_size=3) | st.sampled_from(["true", "Off", "2", "-1", "1.5"])
GIVENS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS | ADDRESSES,
    "number": TEXTS | st.integers(-1, 5) | st.sampled_from([2.5, 1.0]),
    "boolean": TEXTS | st.booleans() | st.integers(0, 2),
    "comma_delimited_list": TEXTS | st.lists(st.text("ab", max_size=2), max_size=3),
}


def heats_value(kind: str, constraint: dict[str, Any] | None, given: Any) -> Any:
    body = {"type": kind, "constraints": [constraint] if constraint else []}
    schema = heat.HOTParamSchema20180302.from_dict("p", body)
    parameter = HeatParameter("p", schema, given)
    try:
        parameter.validate()
        return parameter.value()
    except (exception.HeatException, ValueError, TypeError):
        return "an error"


@pytest.mark.parametrize(("kind", "constraint"), CASES)
@given(data=st.data())
def test_types_and_constraints_are_checked_as_in_heat(
    kind: str, constraint: dict[str, Any] | None, data: st.DataObject
) -> None:
    value = data.draw(GIVENS[kind])
    try:
        ours = coerce(kind, value)
        for item in (constraint or {}).items():
            check(Constraint(*item), ours)
    except ValueError:
        ours = "an error"
    assert ours == heats_value(kind, constraint, value)
