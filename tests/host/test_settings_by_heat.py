"""A host whose files and settings a stack brings: booted from the bootstrap, changed, and given another version."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, MachineSpec, remove_labelled
from registry_stack.images.service import service_image
from registry_stack.product import CLOUD_CONFIG, IMAGE_PARAMETERS, TEMPLATE
from registry_stack.progress import no_progress
from registry_stack.targets.local.host import LOCAL_DEFAULTS, HostPlan, host_spec, plan_host
from registry_stack.targets.local.options import LocalOptions
from registry_stack.template.environment import read_environment
from registry_stack.template.functions import Scope
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.render import render_user_data
from tests.host import flatcar
from tests.host.conftest import MACHINES
from tests.host.targets import RUN_LABEL
from tests.support.deadlines import scaled, wait_until
from tests.support.fake_stack import PASSWORDS, FakeStack, fake_stack
from tests.support.upstream import ensure_network

pytestmark = [pytest.mark.long, pytest.mark.timeout(scaled(900))]
UNPACK = CLOUD_CONFIG.parent / "unpack-files"
ENVIRONMENT = "/etc/docker-registry/environment"


@dataclass
class BroughtHost:
    """The machine, its stack, and what its template makes of parameters."""

    machine: Machine
    stack: FakeStack
    values: dict[str, Any]
    references: dict[tuple[str, ...], Any]

    def bring(self, files: str | None = None, **changed: Any) -> None:
        """A deployment with these parameters and files."""
        scope = Scope(load_template(TEMPLATE), self.values | changed, self.references)
        inputs = scope.template.resources["settings"]["properties"]["input_values"]
        self.stack.deploy(files or UNPACK.read_text(), scope.evaluate(inputs["environment"], "environment"))

    def deploy(self, files: str | None = None, **changed: Any) -> dict[str, str]:
        """What the host says of it."""
        before = len(self.stack.signals)
        self.bring(files, **changed)
        return self.wait_for_signal(before + 1)

    def wait_for_signal(self, number: int) -> dict[str, str]:
        """What the host has said for the `number`th time."""
        wait_until(
            lambda: None if len(self.stack.signals) >= number else f"{len(self.stack.signals)} signals",
            400,
            "the signal",
            log=lambda: self.machine.exec(["journalctl", "-b", "-n", "40", "--no-pager"], check=False).out,
        )
        return self.stack.signals[-1]

    @contextmanager
    def heat_away(self) -> Iterator[None]:
        """It answers 503, and has forgotten every token."""
        self.stack.away = True
        self.stack.tokens.clear()
        try:
            yield
        finally:
            self.stack.away = False

    def wait_until_ready(self) -> None:
        """After a boot: it has proved that it works."""

        def probe() -> str | None:
            done = self.machine.exec(["systemctl", "is-active", "registry-ready"], check=False)
            return done.out.strip() if done.code else None

        wait_until(probe, 200, "registry-ready")

    def output(self, *command: str) -> str:
        return self.machine.exec(list(command)).out

    @property
    def ttl(self) -> str:
        """TAG_TTL_SECONDS, as the edge has it."""
        (line,) = (one for one in self.output("cat", ENVIRONMENT).splitlines() if one.startswith("TAG_TTL_SECONDS="))
        value = line.partition("=")[2].strip("'")
        assert f"stale-while-revalidate={value}," in self.output("cat", "/run/registry/edge/upstream.conf")
        return value


def spec_of(loader: str, options: LocalOptions, values: dict[str, Any], user_data: str) -> MachineSpec:
    """A machine that is booted by this loader with this user-data."""
    client = engine()
    plan = plan_host(client, options, values | {"settings_transport": "user_data"}, no_progress)
    if loader == "cloud-init":
        own = HostPlan(plan.values, user_data, plan.settings, plan.image, plan.digest)
        return host_spec(client, options, own, no_progress)
    spec = flatcar.machine_spec(client, options.name, options.network, options.all_labels, plan.values)
    return replace(spec, files={**spec.files, flatcar.USER_DATA: (user_data.encode(), 0o600)})


@pytest.fixture(scope="module", params=["cloud-init", "flatcar"])
def host(request: pytest.FixtureRequest) -> Iterator[BroughtHost]:
    """Booted; there is no deployment yet."""
    run, client = f"hosttest-heat-{secrets.token_hex(3)}", engine()
    request.config.stash[MACHINES].append(run)
    options = LocalOptions(name=run, mirror_port=None, registry_port=None, labels={RUN_LABEL: run})
    ensure_network(client, options.network, options.all_labels)
    gateway = client.networks.get(options.network).attrs["IPAM"]["Config"][0]["Gateway"]
    template = load_template(TEMPLATE)
    defaults = LOCAL_DEFAULTS | {"registry_password": "it's a secret"}
    values = resolve_parameters(template, read_environment([], []), defaults) | {"OS::project_id": ""}
    values |= {name: service_image(client, values[name], kind, no_progress) for name, kind in IMAGE_PARAMETERS.items()}
    try:
        with fake_stack(gateway) as stack:
            references = {
                ("floating_ip", "floating_ip_address"): "127.0.0.1",
                ("ready_handle", "endpoint"): f"{stack.url}/v1/project/stacks/name/id/resources/ready_handle/signal",
                ("host", "os_collect_config", "heat", "user_id"): "host-user",
                ("host", "os_collect_config", "heat", "password"): PASSWORDS["host-user"],
                ("host", "os_collect_config", "heat", "project_id"): "project",
            }
            values |= {"os_authurl": stack.url, "settings_transport": "heat"}
            user_data = render_user_data(template, values, references)
            machine = Machine.boot(client, spec_of(request.param, options, values, user_data))
            yield BroughtHost(machine, stack, values, references)
    finally:
        remove_labelled(client, f"{RUN_LABEL}={run}")


@pytest.fixture(scope="module")
def working(host: BroughtHost) -> BroughtHost:
    assert host.deploy().keys() == {"ca_certificate"}
    return host


def test_complete_means_that_the_host_works(working: BroughtHost) -> None:
    (signal,) = working.stack.signals
    assert signal["ca_certificate"] + "\n" == working.output("cat", "/home/root/registry_certs/ca.crt")
    working.output("systemctl", "is-active", "registry-ready", "docker-registry-edge", "docker-registry-proxy")


def test_changed_settings_and_refused_ones(working: BroughtHost) -> None:
    edge = working.output("docker", "ps", "-q", "--filter", "name=docker-registry-edge")
    assert "error" not in working.deploy(tag_ttl_seconds=77)
    assert working.ttl == "77"
    refused = working.deploy(edge_image="localhost:1/nothing:1")
    assert "image localhost:1/nothing:1 cannot be pulled" in refused["error"]
    assert "\n" not in refused["error"]
    assert working.ttl == "77"
    assert working.output("docker", "ps", "-q", "--filter", "name=docker-registry-edge") == edge


def test_second_of_two_deployments_counts(working: BroughtHost) -> None:
    """The first is refused; by then there is another."""
    before = len(working.stack.signals)
    working.bring(edge_image="localhost:1/nothing:1")
    working.bring(tag_ttl_seconds=90)
    assert "error" not in working.wait_for_signal(before + 1)
    assert working.ttl == "90"


def test_reboot_keeps_what_was_applied_while_heat_is_away(working: BroughtHost) -> None:
    """What was to be changed meanwhile comes when Heat is back."""
    assert "error" not in working.deploy(tag_ttl_seconds=91)
    before = len(working.stack.signals)
    with working.heat_away():
        working.bring(tag_ttl_seconds=92)
        working.machine.restart()
        working.wait_until_ready()
        assert working.ttl == "91"
        assert len(working.stack.signals) == before
    assert "error" not in working.wait_for_signal(before + 1)
    assert working.ttl == "92"


def test_version_that_does_not_work_gives_way_to_the_one_before(working: BroughtHost) -> None:
    """The settings, too, are those of before."""
    assert "error" not in working.deploy(tag_ttl_seconds=78)
    broken = UNPACK.read_text() + "echo : > /etc/docker-registry/edge/nginx.conf\n"
    failed = working.deploy(broken, tag_ttl_seconds=79)
    assert failed["error"].startswith("docker-registry-edge does not start: ")
    assert working.ttl == "78"
    working.output("systemctl", "is-active", "registry-ready", "docker-registry-edge")
    assert "error" not in working.deploy(UNPACK.read_text() + "# another\n", tag_ttl_seconds=80)
    assert working.ttl == "80"
