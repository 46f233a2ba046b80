"""A group of hosts on the local target: what makes a host a member, in which order they come, what clients get."""

import base64
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from docker.errors import APIError, NotFound

from registry_stack.authority import authority_parameters, has_authority
from registry_stack.client_config import CLIENTS, client_configuration
from registry_stack.commands import status
from registry_stack.deployment import Deployment, Member, State
from registry_stack.docker.exec import ExecResult
from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.product import IMAGE_PARAMETERS
from registry_stack.targets.local import group, host, target
from registry_stack.targets.local.options import DEPLOYMENT_LABEL, LocalOptions
from registry_stack.template.environment import read_environment

NAME = "unit-test"
GROUP = LocalOptions(name=NAME, hosts=3, swift=True)
ADDRESSES = ["192.0.2.2", "192.0.2.3", "192.0.2.4"]
VALUES: dict[str, Any] = {
    **host.LOCAL_DEFAULTS,
    **dict.fromkeys(("ca_certificate", "ca_certificate_key", "server_certificate", "group_secret"), ""),
}
DEPLOYMENT = Deployment(
    target="local",
    name=NAME,
    mirror_url="https://mirror.example.com",
    registry_url="https://mirror.example.com:5000",
    ca_file="/state/ca.crt",
    registry_username="docker",
    password_file="/state/password",
    upstreams={"ghcr": "https://ghcr.io"},
    members=tuple(
        Member(name, f"https://{name}.example.com", f"https://{name}.example.com:5000") for name in ("one", "two")
    ),
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setenv("REGISTRY_STACK_STATE", str(tmp_path))
    return State(NAME)


def test_members_have_their_own_container_volume_and_ports() -> None:
    found = [(one.host, one.volume, one.mirror_port, one.registry_port) for one in GROUP.members]
    assert found == [
        (NAME, f"{NAME}-state", 443, 5000),
        (f"{NAME}-host1", f"{NAME}-host1-state", 444, 5001),
        (f"{NAME}-host2", f"{NAME}-host2-state", 445, 5002),
    ]
    picked = replace(GROUP, mirror_port=None, registry_port=None).members
    assert {(one.mirror_port, one.registry_port) for one in picked} == {(None, None)}


def test_ports_that_would_meet_are_refused() -> None:
    replace(GROUP, mirror_port=5003).refuse_impossible()
    replace(GROUP, mirror_port=None).refuse_impossible()
    with pytest.raises(RegistryStackError, match="so with 3 hosts they must be 3 apart$"):
        replace(GROUP, mirror_port=5002).refuse_impossible()


def test_storage_that_is_not_shared_is_refused() -> None:
    group.refuse_unshared_storage(GROUP, VALUES | {"storage_driver": "swift"})
    group.refuse_unshared_storage(replace(GROUP, hosts=1), VALUES)
    with pytest.raises(RegistryStackError, match="^--hosts 3: the hosts of a group share .*: add --swift, or -P "):
        group.refuse_unshared_storage(GROUP, VALUES)


@pytest.mark.parametrize("taken", [0, 1])
def test_addresses_stay_since_their_subnet_was_asked_for(taken: int) -> None:
    """The one that Docker has just picked, or another if somebody else got that in between."""
    client, asked = mock.MagicMock(), list[str | None]()
    client.networks.list.return_value = []

    def create(_name: str, ipam: Any, internal: bool, **_: Any) -> Any:
        asked.append(ipam["Config"][0]["Subnet"] if ipam else None)
        assert internal
        if taken and len(asked) == 2:
            raise APIError("Pool overlaps with other one on this address space")
        return mock.Mock(attrs={"IPAM": {"Config": [{"Subnet": f"198.51.100.{16 * len(asked)}/28"}]}})

    client.networks.create.side_effect = create
    addresses = group.prepare_peers(client, GROUP)
    assert asked == [None, "198.51.100.16/28"] + ([None, "198.51.100.48/28"] if taken else [])
    assert len(set(addresses)) == 3


def test_addresses_of_a_network_that_is_there() -> None:
    client = mock.MagicMock()
    network = SimpleNamespace(attrs={"IPAM": {"Config": [{"Subnet": "192.0.2.0/24"}]}})
    client.networks.list.return_value = [network]
    assert group.prepare_peers(client, GROUP) == ADDRESSES


def test_members_differ_in_name_and_number_only(state: State) -> None:
    found = [group.member_values(one, VALUES, ADDRESSES, state) for one in GROUP.members]
    assert [(one.pop("hostname"), one.pop("group_member")) for one in found] == [
        ("registry-0", 0),
        ("registry-1", 1),
        ("registry-2", 2),
    ]
    assert found[0] == found[1] == found[2]
    assert found[0]["shared_hostname"] == "registry"
    assert found[0]["group_members"] == "192.0.2.2,192.0.2.3,192.0.2.4"
    assert re.fullmatch("[A-Za-z0-9]{32}", found[0]["group_secret"])


@pytest.mark.parametrize(
    "given", [{"ca_certificate": "QQ==", "ca_certificate_key": "Qg=="}, {"server_certificate": "Qw=="}]
)
def test_certificates_of_the_users_own_stay(state: State, given: dict[str, str]) -> None:
    values = group.member_values(GROUP, VALUES | given, ADDRESSES, state)
    assert values["ca_certificate"] == given.get("ca_certificate", "")
    assert not has_authority(state)


def test_authority_is_made_once(state: State) -> None:
    made = authority_parameters(state)
    assert has_authority(state)
    assert authority_parameters(state) == made
    certificate = x509.load_pem_x509_certificate(base64.b64decode(made["ca_certificate"]))
    key = serialization.load_pem_private_key(base64.b64decode(made["ca_certificate_key"]), None)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(certificate)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_before_utc < datetime.now(UTC) < certificate.not_valid_after_utc - timedelta(days=7000)
    assert {path.stat().st_mode & 0o777 for path in state.folder.iterdir()} == {0o600}


def test_record_of_a_group_is_read_again(state: State) -> None:
    state.save(DEPLOYMENT)
    assert state.load() == DEPLOYMENT
    assert [one["name"] for one in json.loads(DEPLOYMENT.as_json())["members"]] == ["one", "two"]


PARSERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "conf": tomllib.loads,
    "yaml": yaml.safe_load,
}


def files(client: str) -> dict[str, Any]:
    """The files that the printed commands write, parsed, by path."""
    found = re.findall(r"^cat > (\S+) <<'END'\n(.*?)^END$", client_configuration(client, DEPLOYMENT), re.M | re.S)
    return {path: PARSERS[path.rpartition(".")[2]](content) for path, content in found}


def test_each_client_gets_all_members_in_its_own_words() -> None:
    shared, one, two = "mirror.example.com", "one.example.com", "two.example.com"
    urls = [f"https://{one}", f"https://{two}"]
    assert files("docker") == {"/etc/docker/daemon.json": {"registry-mirrors": urls}}
    hosts = {path.split("/")[4]: list(body["host"]) for path, body in files("containerd").items()}
    assert hosts == {
        "docker.io": urls,
        "ghcr.io": urls,
        f"{shared}:5000": [f"https://{name}:5000" for name in (shared, one, two)],
    }
    (conf,) = files("podman").values()
    assert [[mirror["location"] for mirror in registry["mirror"]] for registry in conf["registry"]] == [
        [one, two],
        [f"{one}/ghcr.io", f"{two}/ghcr.io"],
    ]
    (toml,) = files("buildkit").values()
    assert toml["registry"]["docker.io"]["mirrors"] == [one, two]
    assert toml["registry"]["ghcr.io"]["mirrors"] == [f"{one}/ghcr.io", f"{two}/ghcr.io"]
    assert {f"{name}{port}" for name in (one, two) for port in ("", ":5000")} < set(toml["registry"])
    (yml,) = files("k3s").values()
    assert {tuple(entry["endpoint"]) for entry in yml["mirrors"].values()} == {tuple(urls)}
    assert len(yml["configs"]) == 5


@pytest.mark.parametrize("client", list(CLIENTS))
def test_every_member_is_trusted(client: str) -> None:
    text = client_configuration(client, DEPLOYMENT)
    for name in ("one", "two"):
        assert f"{name}.example.com:5000" in text
    if client in ("docker", "podman"):
        for name in ("one", "two"):
            for port in ("", ":5000"):
                assert re.search(rf"^install .*/{name}\.example\.com{port}/ca\.crt$", text, re.M)


def test_clients_of_a_load_balancer_know_it_alone() -> None:
    text = client_configuration("docker", replace(DEPLOYMENT, load_balancer=True))
    assert '{"registry-mirrors": ["https://mirror.example.com"]}' in text


def test_more_upstreams_are_named_by_what_the_hosts_share() -> None:
    text = client_configuration("docker", DEPLOYMENT)
    assert re.findall(r"certs\.d/(ghcr\..*)/ca\.crt", text) == ["ghcr.mirror.example.com"]


def test_certificate_of_another_host_is_not_looked_for() -> None:
    """Each table names a CA that the commands install."""
    text = client_configuration("containerd", DEPLOYMENT)
    installed = set(re.findall(r"^install .* (\S+)$", text, re.M))
    assert set(re.findall(r'^ca = "(.*)"$', text, re.M)) <= installed


class Engine:
    """Hosts by name, and what is done to them, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
        self.hosts, self.steps, self.client = set(hosts), list[str](), mock.MagicMock()
        self.client.containers.list.side_effect = lambda **_: [self._container(name) for name in sorted(self.hosts)]
        self.client.volumes.list.return_value = list(hosts)
        monkeypatch.setattr(Machine, "find", lambda _client, name: self._machine(name) if name in self.hosts else None)
        monkeypatch.setattr(Machine, "remove", lambda machine: self.steps.append(f"remove {machine.container.name}"))
        for name in ("recover_interrupted_rollout", "_check_ports", "prepare_network", "swift_machine"):
            monkeypatch.setattr(target, name, lambda *_: None)
        monkeypatch.setattr(target, "engine", lambda _report: self.client)
        monkeypatch.setattr(target, "service_image", lambda *arguments: arguments[1])
        monkeypatch.setattr(target, "prepare_peers", lambda _client, options: ADDRESSES[: options.hosts])
        monkeypatch.setattr(target, "plan_host", lambda _client, options, values, _report: plan(options, values))
        monkeypatch.setattr(target, "host_spec", lambda _client, options, *_: options.host)
        monkeypatch.setattr(target, "boot_group", self._boot)
        monkeypatch.setattr(target, "_ensure_running", lambda *_: None)
        monkeypatch.setattr(target, "apply_in_place", self._apply)
        monkeypatch.setattr(target, "remove_peers", lambda *_: self.steps.append("remove peers"))
        monkeypatch.setattr(target, "_remember", lambda hosts, *_: hosts)

    def _container(self, name: str) -> Any:
        return SimpleNamespace(name=name, stop=lambda **_: None)

    def _machine(self, name: str) -> Any:
        container = SimpleNamespace(labels={host.INPUTS_LABEL: "digest", DEPLOYMENT_LABEL: NAME}, name=name)
        return SimpleNamespace(name=name, container=container)

    def _boot(self, _client: Any, specs: list[Any], *_: Any) -> None:
        names = [spec for _options, spec in specs]
        self.hosts |= set(names)
        self.steps += [f"boot {' '.join(names)}"] if names else []

    def _apply(self, _client: Any, machine: Any, made: host.HostPlan, _report: Any) -> None:
        self.steps.append(f"apply {machine.name} {made.values['group_members'].count(',') + 1}")

    def deploy(self, options: LocalOptions) -> list[str]:
        self.steps.clear()
        target.deploy(options, read_environment([], []))
        return self.steps


def plan(_options: LocalOptions, values: Any) -> host.HostPlan:
    assert set(IMAGE_PARAMETERS) < set(values)
    return host.HostPlan(values, "", "", "image", "digest")


def test_new_members_come_before_the_others_learn_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(monkeypatch)
    assert engine.deploy(replace(GROUP, hosts=2)) == [f"boot {NAME} {NAME}-host1"]
    assert engine.deploy(GROUP) == [
        f"boot {NAME}-host2",
        *(f"apply {name} 3" for name in (NAME, f"{NAME}-host1")),
    ]


def test_members_go_when_the_others_no_longer_ask_them(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(monkeypatch, NAME, f"{NAME}-host1", f"{NAME}-host2", f"{NAME}-swift")
    assert engine.deploy(replace(GROUP, hosts=2)) == [
        *(f"apply {name} 2" for name in (NAME, f"{NAME}-host1")),
        f"remove {NAME}-host2",
    ]
    engine.hosts.remove(f"{NAME}-host2")
    assert engine.deploy(replace(GROUP, hosts=1)) == [f"apply {NAME} 1", f"remove {NAME}-host1", "remove peers"]


def test_hosts_reach_each_other_where_they_said(monkeypatch: pytest.MonkeyPatch, state: State) -> None:
    monkeypatch.setattr(host, "save_images", lambda *_: [])
    client, options = mock.MagicMock(), GROUP.members[1]
    values = VALUES | {"upstreams": "ghcr"} | dict.fromkeys(IMAGE_PARAMETERS, "a")
    values |= group.member_values(options, values, ADDRESSES, state)
    client.images.get.return_value = SimpleNamespace(id="sha256:1")
    spec = host.host_spec(client, options, host.HostPlan(values, "", "", "image", "digest"), lambda _line: None)
    assert spec.more_networks == {f"{NAME}-peers": "192.0.2.3"}
    assert {"registry-1", "registry-1.localdomain", "registry", "registry.localdomain"} < set(spec.aliases)
    assert "ghcr.registry.localdomain" in spec.aliases


def test_status_names_the_member_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    there = mock.Mock()
    there.exec.side_effect = lambda command, **_: ExecResult(0, b"active\n" * (len(command) - 2), "")
    monkeypatch.setattr(status, "find_running", {"one": there}.get)
    monkeypatch.setattr(status, "_memory", lambda _host: {})
    found = status.status_of(DEPLOYMENT)
    assert not found.healthy
    assert [one for one in found.services if one.state != "active"] == [
        status.Service("(all)", "the host is not running", 0.0, "two")
    ]


def test_engine_says_none(monkeypatch: pytest.MonkeyPatch) -> None:
    client = mock.MagicMock()
    client.containers.get.side_effect = NotFound("none")
    monkeypatch.setattr(target, "engine", lambda: client)
    assert target.find_running("x") is None
