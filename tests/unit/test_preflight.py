"""The parts of the preflight checks that need no cloud."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import certifi
import pytest
from heatclient.exc import HTTPNotFound, HTTPServiceUnavailable

from registry_stack.errors import RegistryStackError
from registry_stack.product import EXAMPLE, TEMPLATE
from registry_stack.targets.cloud import preflight
from registry_stack.targets.cloud.connection import ca_bundle
from registry_stack.targets.cloud.swift import keystone_url
from registry_stack.template.environment import read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template


@pytest.mark.parametrize("transport", ["heat", "user_data"])
@pytest.mark.parametrize("end", ["", "/", "/v2", "/v2/", "/v2.0", "/v2.0/", "/v3", "/v3/"])
def test_keystone_address_ends_in_version_3(end: str, transport: str) -> None:
    values = {"os_authurl": f"https://keystone.example.com:5000{end}", "settings_transport": transport}
    assert keystone_url(values) == "https://keystone.example.com:5000/v3"


def test_keystone_address_keeps_its_path() -> None:
    assert (
        keystone_url({"os_authurl": "https://cloud.example.com/identity/v2.0", "settings_transport": "heat"})
        == "https://cloud.example.com/identity/v3"
    )


def test_extra_ca_is_added_to_the_usual_ones() -> None:
    with ca_bundle({"extra_ca_certificates": base64.b64encode(b"one more\n").decode()}) as verify:
        text = Path(str(verify)).read_text()
    assert text.startswith(Path(certifi.where()).read_text())
    assert text.endswith("\none more\n")
    assert not Path(str(verify)).exists()


@pytest.mark.parametrize("given", ["abc", "not base64"])
def test_extra_ca_must_be_base64(given: str) -> None:
    with (
        pytest.raises(RegistryStackError, match="extra_ca_certificates: not base64: "),
        ca_bundle({"extra_ca_certificates": given}),
    ):
        pass


def test_default_extra_ca_adds_nothing() -> None:
    with ca_bundle({"extra_ca_certificates": "Cg=="}) as verify:
        assert verify is True


def failures(monkeypatch: pytest.MonkeyPatch, *options: str, transport: str = "user_data") -> list[str]:
    """What the check of the user-data says to the example with these options."""
    environment = read_environment([EXAMPLE], [f"settings_transport={transport}", *options])
    values = resolve_parameters(load_template(TEMPLATE), environment)
    monkeypatch.setattr(preflight, "_CHECKS", [preflight.user_data_fits])
    connection: Any = SimpleNamespace(current_project_id="p" * 32)
    return preflight.preflight(connection, values, new=False)


def test_long_logins_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    logins = (f"upstream_password={'a' * 700}", f"upstream_credentials=ecr=AWS:{'a' * 700}")
    assert failures(monkeypatch, *logins) == []


def test_logins_that_heat_brings_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    logins = (f"upstream_password={'a' * 5000}", f"upstream_credentials=ecr=AWS:{'a' * 4980}")
    assert failures(monkeypatch, *logins, transport="heat") == []
    assert failures(monkeypatch, *logins, transport="user_data") != []


@pytest.mark.parametrize(
    ("transport", "refusal", "line"),
    [
        ("heat", None, None),
        (
            "heat",
            HTTPNotFound(),
            "settings_transport: this cloud's Heat has no OS::Heat::DeployedServer: use user_data instead of heat",
        ),
        ("heat", HTTPServiceUnavailable(), "settings_transport: Heat does not answer: HTTP 503"),
        ("user_data", HTTPNotFound(), None),
    ],
)
def test_heat_must_have_what_brings_the_settings(
    monkeypatch: pytest.MonkeyPatch, transport: str, refusal: Exception | None, line: str | None
) -> None:
    types = SimpleNamespace(get=Mock(side_effect=refusal))
    monkeypatch.setattr(preflight, "heat", lambda _connection: SimpleNamespace(resource_types=types))
    connection: Any = SimpleNamespace()
    values = {"settings_transport": transport, "ca_certificate_key": "", "server_certificate": ""}
    assert preflight._settings_transport(connection, values) == line


def test_user_data_has_no_room_for_a_ca_that_issues() -> None:
    connection: Any = SimpleNamespace()
    values = {"settings_transport": "user_data", "ca_certificate_key": "x", "server_certificate": ""}
    found = preflight._settings_transport(connection, values)
    assert found == "ca_certificate_key: user-data has no room for what it needs: use heat as settings_transport"
    # With a pair, which counts instead, it is not needed.
    assert preflight._settings_transport(connection, values | {"server_certificate": "x"}) is None


def test_user_data_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # A quote takes five characters.
    longest = (f"upstream_password={'a' * 5000}", "upstream_credentials=ecr=AWS:" + "'" * 4990)
    (line,) = failures(monkeypatch, *longest, f"extra_ca_certificates={'A' * 2400}")
    assert line.startswith("the user-data has ")
    assert "upstream_password (5000), upstream_credentials (4998), extra_ca_certificates (2400)" in line
    assert "/var/lib/registry/logins/NAME" in line
    assert "aaaa" not in line


def usage(left: int) -> dict[str, int]:
    return {"limit": 10, "used": 10 - left, "reserved": 0}


@pytest.mark.parametrize(
    ("left", "group", "short"),
    [
        (3, {"count": 3}, ""),
        (3, {"count": 4}, "floating ips, ports"),
        (3, {"count": 3, "load_balancer": "octavia"}, "floating ips, ports"),
        (3, {"count": 3, "load_balancer": "vip"}, "floating ips, ports"),
        (1, {}, ""),
    ],
)
def test_quota_is_for_all_hosts_of_a_group(left: int, group: dict[str, Any], short: str) -> None:
    quota = SimpleNamespace(floating_ips=usage(left), ports=usage(left), security_groups=usage(1))
    network = SimpleNamespace(get_quota=lambda *_, **__: quota)
    limits = SimpleNamespace(absolute=SimpleNamespace(instances=10, instances_used=10 - left))
    connection: Any = SimpleNamespace(
        network=network, current_project_id="p", compute=SimpleNamespace(get_limits=lambda: limits)
    )
    values = {"network": "mine", **group}
    said = preflight._network_quota(connection, values)
    assert said == (f"quota: not enough {short} left (openstack quota show)" if short else None)
    assert (preflight._servers(connection, values) is None) == (group.get("count", 1) <= left)


@pytest.mark.parametrize("there", [True, False])
def test_load_balancer_needs_what_it_is_made_of(there: bool) -> None:
    network = SimpleNamespace(find_extension=lambda _alias: "found" if there else None)
    connection: Any = SimpleNamespace(has_service=lambda _name: there, network=network)
    assert preflight._load_balancer(connection, {"load_balancer": "none"}) is None
    for wanted in ("octavia", "vip"):
        assert (preflight._load_balancer(connection, {"load_balancer": wanted}) is None) == there
