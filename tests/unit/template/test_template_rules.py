"""Every rule of the template detects a violation."""

from collections.abc import Callable

import pytest

from registry_stack.template.template import Template
from tests.unit.template import template_rules
from tests.unit.template.conftest import MakeTemplate

GOOD = """
parameter_groups:
  - {label: All, parameters: [name, password, cidr]}
parameters:
  name: {type: string, description: d, constraints: [{length: {max: 9}}]}
  password: {type: string, description: d, hidden: true, default: '', constraints: [{length: {max: 9}}]}
  cidr: {type: string, description: d, default: 0.0.0.0/0, constraints: [{custom_constraint: net_cidr}]}
resources:
  server: {type: 'OS::Nova::Server', properties: {user_data_format: RAW, user_data: 'x @@A@@'}}
outputs:
  url: {description: d, value: x}
"""


def required(template: Template) -> list[str]:
    return template_rules.required_are(template, ["name"])


def filled(template: Template) -> list[str]:
    return template_rules.placeholders_filled(template, "x 'a'")


TEMPLATE_RULES: list[Callable[[Template], list[str]]] = [
    *template_rules.RULES,
    required,
    filled,
]


@pytest.mark.parametrize("rule", TEMPLATE_RULES)
def test_good_template_passes(make_template: MakeTemplate, rule: Callable[[Template], list[str]]) -> None:
    assert rule(make_template(GOOD)) == []


@pytest.mark.parametrize(
    ("rule", "old", "new", "violations"),
    [
        (template_rules.parameters_described, "description: d,", "", ["name has no description"]),
        (
            template_rules.parameters_constrained,
            "constraints: [{custom_constraint: net_cidr}]",
            "constraints: []",
            ["cidr has no constraint"],
        ),
        (template_rules.outputs_described, "description: d, value", "value", ["output url has no description"]),
        (template_rules.parameters_grouped, ", cidr]", "]", ["cidr is in 0 groups"]),
        (template_rules.parameters_grouped, ", cidr]", ", cidr, name]", ["name is in 2 groups"]),
        (template_rules.parameters_grouped, ", cidr]", ", cidr, x]", ["group has unknown x"]),
        (template_rules.parameters_grouped, "label: All, ", "", ["a group has no label"]),
        (template_rules.secrets_hidden, "hidden: true, ", "", ["password is not hidden"]),
        (
            template_rules.defaults_valid,
            "0.0.0.0/0",
            "any",
            ['parameter "cidr" (the template): "any" is not a network in CIDR form, such as 192.0.2.0/24'],
        ),
        (
            template_rules.defaults_valid,
            "default: 0.0.0.0/0, constraints: [{custom_constraint: net_cidr",
            "default: '', constraints: [{custom_constraint: neutron.network",
            ["cidr: the empty default fails neutron.network"],
        ),
        (
            template_rules.names_unique,
            "server:",
            "name: {type: x}\n  server:",
            ["name is both a parameter and a resource"],
        ),
        (
            template_rules.user_data_raw,
            "user_data_format: RAW, ",
            "",
            ["server: user_data_format is None, not RAW"],
        ),
        (
            template_rules.free_text_bounded,
            "length: {max: 9}",
            "length: {min: 9}",
            ["name has no length constraint with a max"],
        ),
        (required, "default: 0.0.0.0/0,", "", ["cidr should not be required"]),
        (
            required,
            "name: {type: string,",
            "name: {type: string, default: a,",
            ["name should be required"],
        ),
    ],
)
def test_violation_is_detected(
    make_template: MakeTemplate,
    rule: Callable[[Template], list[str]],
    old: str,
    new: str,
    violations: list[str],
) -> None:
    assert old in GOOD
    assert rule(make_template(GOOD.replace(old, new, 1))) == violations


def test_remaining_placeholder_is_detected(make_template: MakeTemplate) -> None:
    assert template_rules.placeholders_filled(make_template(GOOD), "x @@A@@") == ["@@A@@ survives"]
