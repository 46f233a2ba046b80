"""What a local deployment says and asks on its way, and in which order, with an engine's part played."""

import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from docker.errors import NotFound

from registry_stack.docker.exec import ExecResult
from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.targets.local import host, in_place, rollout, target
from registry_stack.targets.local.options import LocalOptions
from registry_stack.template.environment import read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.build import GROUP_ONLY
from registry_stack.userdata.host_files import host_files

NAME = "unit-test"
IMAGES = dict.fromkeys(IMAGE_PARAMETERS, "a")
OPTIONS = LocalOptions(name=NAME, mirror_port=None, registry_port=None)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """A client of an engine here that has every image and no container."""
    client = mock.MagicMock()
    client.api.base_url = "http+docker://localhost"
    client.containers.get.side_effect = NotFound("none")
    client.images.get.return_value = SimpleNamespace(id="sha256:1")
    monkeypatch.setenv("REGISTRY_STACK_STATE", str(tmp_path))
    monkeypatch.setattr(target, "engine", lambda _report: client)
    return client


def built(_client: Any, name: str, report: ProgressCallback = no_progress) -> str:
    report(f"building {name}")
    return f"registry-stack/{name}:1"


def user_data(*settings: str, script: str = "") -> str:
    """With these settings, and one more file."""
    files = [{"path": host.USER_DATA_ENVIRONMENT, "content": "\n".join(settings)}, {"path": "/a", "content": script}]
    return "#cloud-config\n" + json.dumps({"write_files": files})


def machine(labels: dict[str, str] | None = None, status: str = "running") -> mock.Mock:
    found = mock.Mock(running=status == "running", published_ports=set())
    found.name, found.container.labels = NAME, labels or {}
    return found


def test_only_a_member_of_a_group_gets_the_files_of_one() -> None:
    """A cloud's user-data has no room for them."""
    given = read_environment([], ["group_members=192.0.2.1,192.0.2.2", "group_member=1"])
    values = resolve_parameters(load_template(TEMPLATE), given, host.LOCAL_DEFAULTS)
    files = host_files(host.render(values))
    assert files.keys() >= GROUP_ONLY
    assert b"GROUP_MEMBER='1'" in files[host.USER_DATA_ENVIRONMENT].content
    assert b"group_conf" in files["/opt/registry/render-edge-config"].content
    alone = host_files(host.render(values | {"group_members": ""}))
    assert not alone.keys() & GROUP_ONLY
    assert b"group_conf" not in alone["/opt/registry/render-edge-config"].content


@pytest.mark.usefixtures("client")
def test_taken_port_is_found_before_any_image_is_obtained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "service_image", lambda *_: pytest.fail("images first"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        options = LocalOptions(name=NAME, mirror_port=server.getsockname()[1], registry_port=None)
        with pytest.raises(RegistryStackError, match="is taken: stop what listens there"):
            target.deploy(options, read_environment([], []))


def test_ports_of_a_machine_elsewhere_are_not_looked_for_here(client: Any) -> None:
    client.api.base_url = "http://192.0.2.1:2375"
    with socket.create_server(("127.0.0.1", 0)) as server:
        target._check_ports(client, LocalOptions(name=NAME, mirror_port=server.getsockname()[1]))


def test_building_the_image_of_the_host_is_announced(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "ensure_project_image", built)
    values = host.LOCAL_DEFAULTS | IMAGES
    monkeypatch.setattr(host, "render", lambda _values: user_data("HOST_NAME='a'"))
    steps: list[str] = []
    host.plan_host(client, OPTIONS, values, steps.append)
    assert steps == ["building host"]


@pytest.mark.usefixtures("client")
def test_deadline_is_a_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[float] = []

    def replace(*arguments: Any) -> mock.Mock:
        deadlines.append(arguments[3])
        return machine()

    monkeypatch.setattr(target, "service_image", lambda *arguments: arguments[1])
    monkeypatch.setattr(target, "replace_with_rollback", replace)
    monkeypatch.setattr(target, "host_spec", lambda *_: None)
    monkeypatch.setattr(target, "_remember", lambda *_: None)
    monkeypatch.setattr(host, "ensure_project_image", built)
    target.deploy(OPTIONS, read_environment([], []))
    target.deploy(OPTIONS, read_environment([], ["ready_timeout_seconds=900"]))
    assert deadlines == [300, 900]


def test_hint_does_not_lead_into_a_host_that_is_removed() -> None:
    booting = machine()
    booting.exec.return_value = ExecResult(3, b"activating\n", "")
    with pytest.raises(RegistryStackError) as caught:
        rollout.wait_until_ready(booting, no_progress, 0.1)
    assert str(caught.value) == (
        f"waited 0.1 s for a push and a pull on {NAME}: last seen: 0 of 5 services answer; "
        "give a slower machine more time with -P ready_timeout_seconds=SECONDS"
    )


@pytest.mark.parametrize(
    ("status", "steps"),
    [
        ("running", [f"{NAME} is running with these parameters"]),
        ("exited", [f"{NAME} is stopped: starting it", f"{NAME} is running with these parameters"]),
    ],
)
def test_host_with_these_parameters_is_not_replaced(
    client: Any, monkeypatch: pytest.MonkeyPatch, status: str, steps: list[str]
) -> None:
    plan = host.HostPlan(IMAGES, "", "A='1'\n", "image", "digest")
    found = machine({host.INPUTS_LABEL: "digest"}, status)
    found.read.side_effect = {host.ENVIRONMENT: b"A='1'\n", host.IMAGE_IDS: b'{"a": "sha256:1"}'}.get
    monkeypatch.setattr(Machine, "find", lambda *_: found)
    monkeypatch.setattr(target, "recover_interrupted_rollout", lambda *_: None)
    monkeypatch.setattr(target, "service_image", lambda *arguments: arguments[1])
    monkeypatch.setattr(target, "plan_host", lambda *_: plan)
    monkeypatch.setattr(target, "replace_with_rollback", lambda *_: pytest.fail("replaced"))
    monkeypatch.setattr(target, "wait_until_ready", lambda *_, **__: None)
    monkeypatch.setattr(target, "_remember", lambda *_: None)
    said: list[str] = []
    target.deploy(OPTIONS, read_environment([], []), said.append)
    assert said == steps
    assert found.start.called == (status == "exited")


def test_host_comes_back_with_its_engine(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "save_images", lambda *_: [])
    values = host.LOCAL_DEFAULTS | {"upstreams": ""} | IMAGES
    spec = host.host_spec(client, OPTIONS, host.HostPlan(values, "", "", "image", "digest"), no_progress)
    assert spec.restarts_with_engine


def planned(client: Any, monkeypatch: pytest.MonkeyPatch, *settings: str, script: str = "") -> host.HostPlan:
    monkeypatch.setattr(host, "ensure_project_image", built)
    monkeypatch.setattr(host, "render", lambda _values: user_data(*settings, script=script))
    return host.plan_host(client, OPTIONS, IMAGES, no_progress)


def test_only_what_makes_the_host_takes_another(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = planned(client, monkeypatch, "HOST_NAME='a'", "TAG_TTL_SECONDS='1'")
    other = planned(client, monkeypatch, "HOST_NAME='a'", "TAG_TTL_SECONDS='2'")
    assert (now.digest, now.settings) == (other.digest, other.settings.replace("2", "1"))
    assert planned(client, monkeypatch, "HOST_NAME='b'", "TAG_TTL_SECONDS='1'").digest != now.digest
    assert planned(client, monkeypatch, "HOST_NAME='a'", "TAG_TTL_SECONDS='1'", script="x").digest != now.digest


@pytest.mark.usefixtures("client")
def test_settings_are_handed_over_and_named(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = host.HostPlan(IMAGES, "", "A='1'\nOS_PASSWORD='secret'\n", "image", "digest")
    found = machine()
    said: list[str] = []
    found.read.side_effect = {host.ENVIRONMENT: b"A='1'\nOS_PASSWORD='old'\n", host.IMAGE_IDS: b'{"a": "old"}'}.get
    found.exec.return_value = ExecResult(0, b"", "")
    monkeypatch.setattr(in_place, "save_images", lambda *_: [Path("/cache/1.tar")])
    in_place.apply_in_place(client, found, plan, said.append)
    assert said == ["applying in place, without a new host: os_password, a"]
    assert [call.args[0] for call in found.put.call_args_list] == [f"{host.IMAGE_FOLDER}/1.tar", host.IMAGE_IDS]
    assert found.exec.call_args.kwargs["input"] == plan.settings.encode()


def test_refusal_of_the_host_is_one_line(client: Any) -> None:
    plan = host.HostPlan(IMAGES, "", "A='2'\n", "image", "digest")
    found = machine()
    found.read.side_effect = {host.ENVIRONMENT: b"A='1'\n", host.IMAGE_IDS: b'{"a": "sha256:1"}'}.get
    found.exec.return_value = ExecResult(1, b"", "warning: x\nerror: it is wrong\n")
    with pytest.raises(RegistryStackError, match=f"^{NAME} goes on as before: it is wrong$"):
        in_place.apply_in_place(client, found, plan, no_progress)
