"""heat/registry-group.yaml: a group of what heat/registry.yaml makes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry_stack.product import GROUP_TEMPLATE, TEMPLATE
from registry_stack.targets.cloud.stack import Request
from registry_stack.template.group import OF_A_MEMBER, with_copies
from registry_stack.template.template import Template
from tests.unit.template import heat_reference, linters, template_rules
from tests.unit.template.repository import GROUP, REPOSITORY, Product

# What the group has of its own, and what means something else for a group.
OWN = {"count", "load_balancer"}
CHANGED = {
    "hostname": {"description", "constraints"},
    "storage_driver": {"description", "constraints"},
    "ca_certificate": {"label", "description", "constraints", "default"},
    "settings_transport": {"description", "constraints"},
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"count": 8, "network": "mine", "cache_volume_size": 50},
    {"load_balancer": "octavia"},
    {"load_balancer": "octavia", "network": "mine", "metrics_client_cidr": "192.0.2.0/24"},
    {"load_balancer": "vip"},
    {"load_balancer": "vip", "network": "mine", "dns_zone": "example.com.", "upstreams": "k8s"},
    {"dns_zone": "example.com.", "upstreams": "k8s", "registry_password": "it's"},
    {"dns_zone": "example.com.", "load_balancer": "octavia", "storage_driver": "s3"},
]


def given(product: Product, **more: Any) -> dict[str, Any]:
    return {**product.example, "ca_certificate": "QQ==", "ca_certificate_key": "Qg==", **more}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_heat_validates_down_to_the_servers(product: Product, options: dict[str, Any]) -> None:
    assert heat_reference.group_validation_error(product.root / GROUP, given(product, **options)) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 1}, "1 is out of range"),
        ({"count": 9}, "9 is out of range"),
        ({"storage_driver": "filesystem"}, "not an allowed value"),
        # Only the template of a member says so.
        ({"registry_username": "a b"}, "must consist of letters, digits"),
    ],
)
def test_heat_refuses(product: Product, options: dict[str, Any], message: str) -> None:
    error = heat_reference.group_validation_error(product.root / GROUP, given(product, **options))
    assert message in error


def test_parameters_are_those_of_a_single_host(product: Product) -> None:
    group, single = product.group.parameters, product.template.parameters
    assert group.keys() - OWN == single.keys() - set(OF_A_MEMBER)
    for name, parameter in single.items():
        if name in OF_A_MEMBER:
            continue
        differing = {field for field in vars(parameter) if getattr(parameter, field) != getattr(group[name], field)}
        assert differing == CHANGED.get(name, set()), name


def test_every_parameter_is_passed_on(product: Product) -> None:
    values = member(product)["properties"]
    assert values.keys() == product.template.parameters.keys()
    own = {"network", "registry_password", "hostname", *OF_A_MEMBER}
    assert {name: values[name] for name in values.keys() - own} == {
        name: {"get_param": name} for name in values.keys() - own
    }


def member(product: Product) -> dict[str, Any]:
    definition: dict[str, Any] = product.group.resources["members"]["properties"]["resource_def"]
    assert definition["type"] == Path(TEMPLATE).name
    return definition


def test_copies_are_up_to_date() -> None:
    """Run `python -m registry_stack.template.group` after a change of heat/registry.yaml."""
    text = GROUP_TEMPLATE.read_text()
    assert with_copies(text, TEMPLATE.read_text()) == text


@pytest.mark.parametrize("rule", [rule for rule in template_rules.RULES if rule is not template_rules.user_data_raw])
def test_rules_of_the_template(product: Product, rule: Callable[[Template], list[str]]) -> None:
    assert rule(product.group) == []


def test_members_let_in_whom_a_single_host_lets_in(product: Product) -> None:
    """And each other."""
    group = product.group.resources["security_group"]["properties"]["rules"]
    single = product.template.resources["security_group"]["properties"]["rules"]
    assert group[: len(single)] == single
    assert group[len(single) :] == [
        {"protocol": "tcp", "port_range_min": 443, "port_range_max": 443, "remote_mode": "remote_group_id"}
    ]
    for name in ("own_subnet", "router", "router_interface", "metrics_rule"):
        assert product.group.resources[name]["properties"] == product.template.resources[name]["properties"]


def test_members_are_updated_one_after_the_other(product: Product) -> None:
    members = product.group.resources["members"]
    assert members["update_policy"] == {"rolling_update": {"max_batch_size": 1}}


def test_each_version_has_its_own_names(product: Product, tmp_path: Path) -> None:
    """Otherwise Heat would give the first member's new files to all others at once."""
    values = given(product)
    before = Request.read("a", product.root / GROUP, [], values)
    changed = product.edited(tmp_path, "heat/registry.yaml", "Name of the server,", "The name of the server,")
    after = Request.read("a", changed.root / GROUP, [], values)
    for request in (before, after):
        text = json.dumps([request.template, *map(json.loads, (t for t in request.files.values() if t[0] == "{"))])
        assert all(f'"{url}"' in text for url in request.files)
    names = [
        {url.rpartition("/heat/")[2] for url in one.files if url.endswith("registry.yaml")} for one in (before, after)
    ]
    assert len(names[0] | names[1]) == 2
    again = Request.read("a", product.root / GROUP, [], values)
    assert replace(again) == before


def test_yamllint() -> None:
    assert linters.yamllint(REPOSITORY / GROUP, REPOSITORY / ".yamllint.yaml") == ""
