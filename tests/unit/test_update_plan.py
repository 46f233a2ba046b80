"""Which updates replace the server, with the real template."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from registry_stack.product import TEMPLATE
from registry_stack.targets.cloud.update_plan import (
    changed_parameters,
    replacement_reasons,
    server_parameters,
    server_tag,
)
from registry_stack.template.environment import read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import Template, load_template
from registry_stack.userdata.render import source_text

NAME = "some-stack"
GIVEN = {
    "hostname": "h",
    "domain": "example.com",
    "server_key": "k",
    "server_flavor": "f",
    "server_image": "i",
    "fip_network": "n",
    "os_username": "u",
    "os_password": "p",
    "os_region": "r",
    "os_authurl": "http://keystone:5000/v3",
}


@dataclass
class Found:
    """A stack as Heat returns it: texts, and asterisks for a secret."""

    parameters: dict[str, str]
    tags: list[str]
    stack_status: str = "CREATE_COMPLETE"
    stack_name: str = NAME
    files: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def template() -> Template:
    return load_template(TEMPLATE)


def values(template: Template, **changed: Any) -> dict[str, Any]:
    given = [f"{name}={value}" for name, value in (GIVEN | {"settings_transport": "user_data"} | changed).items()]
    return resolve_parameters(template, read_environment([], given))


@pytest.fixture
def found(template: Template) -> Found:
    return stack_of(template)


def stack_of(template: Template, **given: Any) -> Found:
    own = values(template, **given)
    shown = {name: "******" if template.parameters[name].hidden else str(value) for name, value in own.items()}
    shown |= dict.fromkeys((name for name, value in own.items() if value == []), "")
    return Found(shown, [server_tag(template, own, NAME)], files={"file:///x": source_text(template, own)})


def reasons(template: Template, found: Found, **changed: Any) -> list[str]:
    return replacement_reasons(template, found, found.files, values(template, **changed))


def test_same_parameters_change_nothing(template: Template, found: Found) -> None:
    assert changed_parameters(template, found.parameters, values(template)) == {}
    assert reasons(template, found) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"registry_username": "x"},
        {"server_image": "j"},
        {"server_key": "x"},
        {"fip_network": "x"},
        {"cache_volume_size": 1},
        {"require_upstream": "false"},
    ],
    ids=str,
)
def test_user_data_image_and_key_replace_the_server(template: Template, found: Found, changed: dict[str, Any]) -> None:
    assert reasons(template, found, **changed) == list(changed)
    assert changed_parameters(template, found.parameters, values(template, **changed)).keys() == changed.keys()


@pytest.mark.parametrize(
    "changed",
    [
        {"mirror_client_cidr": "192.0.2.0/24"},
        {"server_flavor": "g"},
        {"dns_zone": "example.com."},
        {"ready_timeout_seconds": 100},
    ],
    ids=str,
)
def test_security_size_and_dns_do_not_replace_the_server(
    template: Template, found: Found, changed: dict[str, Any]
) -> None:
    assert reasons(template, found, **changed) == []
    assert changed_parameters(template, found.parameters, values(template, **changed)).keys() == changed.keys()


@pytest.fixture
def found_in_place(template: Template) -> Found:
    return stack_of(template, settings_transport="heat")


@pytest.mark.parametrize(
    "changed",
    [
        {"tag_ttl_seconds": 120},
        {"upstreams": "k8s"},
        {"os_password": "other"},
        {"os_authurl": "https://other:5000/v3"},
        {"edge_image": "nginx:1.29.0-alpine"},
        {"extra_ca_certificates": "AAAA"},
        {"registry_username": "x"},
        {"settings_transport": "heat"},
    ],
    ids=str,
)
def test_settings_that_heat_brings_leave_the_server(
    template: Template, found_in_place: Found, changed: dict[str, Any]
) -> None:
    assert reasons(template, found_in_place, **{"settings_transport": "heat"} | changed) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"hostname": "x"},
        {"domain": "x.example.com"},
        {"server_image": "j"},
        {"server_key": "x"},
        {"fip_network": "x"},
        {"cache_volume_size": 1},
        {"settings_transport": "user_data"},
    ],
    ids=str,
)
def test_what_makes_the_server_replaces_it_in_any_case(
    template: Template, found_in_place: Found, changed: dict[str, Any]
) -> None:
    found = reasons(template, found_in_place, **{"settings_transport": "heat"} | changed)
    assert [reason for reason in found if reason in template.parameters] == list(changed)


def test_another_version_is_applied_in_place(template: Template, found_in_place: Found) -> None:
    found_in_place.files = {"file:///x": "#!/bin/bash\n"}
    assert reasons(template, found_in_place, settings_transport="heat") == []


def test_failed_update_in_place_leaves_the_server(template: Template, found_in_place: Found) -> None:
    found_in_place.stack_status = "UPDATE_FAILED"
    assert reasons(template, found_in_place, settings_transport="heat") == []


def test_stack_from_before_there_was_a_choice(template: Template, found: Found) -> None:
    """Its server does not ask Heat."""
    del found.parameters["settings_transport"]
    assert "settings_transport" in reasons(template, found, settings_transport="heat")
    assert reasons(template, found, settings_transport="user_data") == []


def test_changed_secret_replaces_the_server_unshown(template: Template, found: Found) -> None:
    assert reasons(template, found, os_password="other") == ["a secret, or another version's template"]
    assert changed_parameters(template, found.parameters, values(template, os_password="other")) == {}


def test_another_cloud_config_replaces_the_server(template: Template, found: Found) -> None:
    found.files = {"file:///x": "#cloud-config\n"}
    assert reasons(template, found) == ["another version's cloud-config"]


def test_failed_update_replaces_the_server(template: Template, found: Found) -> None:
    found.stack_status = "UPDATE_FAILED"
    assert reasons(template, found) == ["its last update failed"]


def test_stack_created_by_hand_shows_only_visible_parameters(template: Template, found: Found) -> None:
    """It has no tag, and Heat shows no secret."""
    found.tags = []
    assert reasons(template, found, os_password="other") == []
    assert reasons(template, found, hostname="x") == ["hostname"]


def test_every_parameter_of_the_user_data_replaces_the_server(template: Template) -> None:
    """The security group's parameters do not."""
    counted = server_parameters(template, values(template))
    assert {
        "extra_ca_certificates",
        "storage_redirect",
        "os_project_name",
        "cache_volume_size",
        "OS::project_id",
    } <= counted
    assert counted.isdisjoint({"mirror_client_cidr", "ssh_cidr", "dns_zone", "network_cidr", "ready_timeout_seconds"})
