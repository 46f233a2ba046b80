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
    given = [f"{name}={value}" for name, value in (GIVEN | changed).items()]
    return resolve_parameters(template, read_environment([], given))


@pytest.fixture
def found(template: Template) -> Found:
    own = values(template)
    shown = {name: "******" if template.parameters[name].hidden else str(value) for name, value in own.items()}
    shown["dns_nameservers"] = ""
    return Found(shown, [server_tag(template, own, NAME)], files={"file:///x": source_text(template)})


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
    counted = server_parameters(template)
    assert {
        "extra_ca_certificates",
        "storage_redirect",
        "os_project_name",
        "cache_volume_size",
        "OS::project_id",
    } <= counted
    assert counted.isdisjoint({"mirror_client_cidr", "ssh_cidr", "dns_zone", "network_cidr", "ready_timeout_seconds"})
