"""`deploy` again, with other parameters, interrupted, killed and failing: on the local target, by the command."""

import base64
import json
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from docker import DockerClient

from registry_stack.deployment import current
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine
from registry_stack.targets.local import target as local
from tests.support.commands import deploy, expect_running, finish, run, start
from tests.support.deadlines import scaled, wait_until
from tests.support.oci import Auth, ImageRef, OciClient

NAME = f"hosttest-{secrets.token_hex(4)}"
USER = ("-P", "registry_username=somebody")
# Another host.
OTHER = (*USER, "-P", "hostname=other")
BROKEN_PEM = "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n"
# Which the host finds out at once.
BROKEN = ("-P", f"extra_ca_certificates={base64.b64encode(BROKEN_PEM.encode()).decode()}")
BROKEN_REASON = "extra_ca_certificates holds no PEM certificates, or a broken one"


@pytest.fixture(scope="module")
def client() -> Iterator[DockerClient]:
    """The engine; whatever these tests leave is removed."""
    client = engine()
    local.destroy(NAME)
    yield client
    local.destroy(NAME)
    assert local.list_resources(client, NAME) == []


def host_of(client: DockerClient) -> Machine:
    machine = Machine.find(client, NAME)
    assert machine is not None
    return machine


def registry(client: DockerClient, auth: Auth = None) -> OciClient:
    """The push registry where it is now: a host that was restarted has other ports."""
    known = current(NAME)
    login = auth or (known.registry_username, known.password)
    return OciClient(f"https://localhost:{host_of(client).port(5000)}", login, known.ca_file)


def interrupt(client: DockerClient, process: subprocess.Popen[str], with_signal: int) -> None:
    """Send a signal once the new host is booting."""
    before = Machine.find(client, NAME)
    old = before.container.id if before else None

    def probe() -> str | None:
        expect_running(process)
        machine = Machine.find(client, NAME)
        booting = machine is not None and machine.running and machine.container.id != old
        return None if booting else "not booting yet"

    wait_until(probe, 120, "the new host to boot")
    process.send_signal(with_signal)


def test_interrupted_deploy_leaves_nothing(client: DockerClient) -> None:
    started, process = time.monotonic(), start(*deploy(NAME))
    interrupt(client, process, signal.SIGINT)
    done = finish(process, started)
    assert (done.code, done.error) == (130, "error: interrupted")
    assert local.list_resources(client, NAME) == []


@pytest.fixture(scope="module")
def deployed(client: DockerClient) -> str:
    """Deployed after a first attempt was killed halfway; the host's container id."""
    killed = start(*deploy(NAME))
    interrupt(client, killed, signal.SIGKILL)
    killed.communicate()
    done = run(*deploy(NAME))
    assert done.code == 0, done.err
    return str(host_of(client).container.id)


def lasting(client: DockerClient) -> str:
    """What clients know the host by, and what signs its uploads: the CA with its key, and the secret.

    Not the server's certificate: another host may have another address.
    """
    files = [f"/home/root/registry_certs/{name}" for name in ("ca.crt", "ca.key")]
    return host_of(client).exec(["sha256sum", *files, "/var/lib/registry/http-secret"]).out


@pytest.fixture(scope="module")
def pushed(client: DockerClient, deployed: str) -> ImageRef:
    return registry(client).push("deploy/kept", "1", [10_000, 1_000_000])


def test_deploys_after_a_killed_deploy(client: DockerClient, deployed: str) -> None:
    registry(client).expect(200, "GET", "/v2/")
    assert local.list_resources(client, NAME) == [f"container {NAME}", f"network {NAME}-net", f"volume {NAME}-state"]


def test_deploy_warns_without_an_upstream(deployed: str) -> None:
    """Without an upstream the local target warns and continues."""
    done = run(*deploy(NAME))
    assert "warning: the mirror cannot pull library/hello-world:latest from http://127.0.0.1:9" in done.err
    assert done.code == 0


def test_again_changes_nothing(client: DockerClient, deployed: str) -> None:
    done = run(*deploy(NAME), "--json")
    assert done.code == 0, done.err
    assert done.seconds < scaled(15)
    assert host_of(client).container.id == deployed
    known = json.loads(done.out)
    assert known["registry_url"] == f"https://localhost:{host_of(client).port(5000)}"


def test_status_is_one_object(deployed: str) -> None:
    done = run("status", "--name", NAME, "--json")
    assert done.code == 0
    known = json.loads(done.out)
    assert known["target"] == "local"
    assert known["healthy"]
    assert [service["state"] for service in known["services"]] == ["active"] * 5
    assert 0 < known["memory_mib"] < 150
    assert {"mirror_url", "registry_url", "ca_file", "registry_username", "password_file"} <= set(known)


def test_settings_are_applied_in_place(client: DockerClient, deployed: str, pushed: ImageRef) -> None:
    password = current(NAME).password
    done = run(*deploy(NAME, *USER))
    assert done.code == 0, done.err
    assert "applying in place, without a new host: registry_username" in done.err
    assert host_of(client).container.id == deployed
    assert current(NAME).registry_username == "somebody"
    assert registry(client).pull("deploy/kept", "1").digest == pushed.digest
    registry(client, ("docker", password)).expect(401, "GET", "/v2/")
    done = run(*deploy(NAME, *USER, *BROKEN))
    assert (done.code, done.error) == (1, f"error: {NAME} goes on as before: {BROKEN_REASON}")
    registry(client).expect(200, "GET", "/v2/")


@dataclass(frozen=True)
class Before:
    """What was known of the host that was replaced."""

    password: str
    lasting: str


@pytest.fixture(scope="module")
def changed(client: DockerClient, pushed: ImageRef) -> Before:
    """Deployed again as another host; what was known before."""
    before = Before(current(NAME).password, lasting(client))
    done = run(*deploy(NAME, *OTHER))
    assert done.code == 0, done.err
    return before


def test_another_host_keeps_what_was_pushed(
    client: DockerClient, deployed: str, pushed: ImageRef, changed: Before
) -> None:
    assert host_of(client).container.id != deployed
    assert current(NAME).password == changed.password
    assert registry(client).pull("deploy/kept", "1").digest == pushed.digest


def test_replacement_keeps_the_ca(client: DockerClient, changed: Before) -> None:
    """Clients that trust the CA go on without being told anything."""
    assert lasting(client) == changed.lasting


@pytest.mark.usefixtures("changed")
def test_failed_replacement_restores_the_old_host(client: DockerClient, pushed: ImageRef) -> None:
    before = host_of(client).container.id
    done = run(*deploy(NAME, *USER, *BROKEN))
    expected = f"error: the host does not work: docker-registry-edge does not start: {BROKEN_REASON}"
    assert (done.code, done.error) == (1, expected)
    assert host_of(client).container.id == before
    wait_until(lambda: answers(client), 60, "the old host")
    assert registry(client).pull("deploy/kept", "1").digest == pushed.digest


def answers(client: DockerClient) -> str | None:
    status = registry(client).request("GET", "/v2/").status_code
    return None if status == 200 else str(status)


@pytest.mark.usefixtures("changed")
def test_killed_replacement_is_cleaned_up(client: DockerClient, pushed: ImageRef) -> None:
    killed = start(*deploy(NAME, "-P", "hostname=another"))
    interrupt(client, killed, signal.SIGKILL)
    killed.communicate()
    done = run(*deploy(NAME, *OTHER))
    assert done.code == 0, done.err
    # It is the one from before, which was only stopped.
    assert "is stopped: starting it" in done.err
    assert "replace" not in done.err
    assert registry(client).pull("deploy/kept", "1").digest == pushed.digest
    assert current(NAME).registry_username == "somebody"
    assert [part for part in local.list_resources(client, NAME) if part.startswith("container")] == [
        f"container {NAME}"
    ]


def test_destroy_asks(pushed: ImageRef) -> None:
    done = run("destroy", "--name", NAME)
    assert (done.code, done.error) == (1, "error: confirmation needs a terminal: add --yes to continue")


def test_destroy_can_keep_the_data(client: DockerClient, pushed: ImageRef) -> None:
    before = lasting(client)
    assert run("destroy", "--name", NAME, "--keep-data", "--yes").code == 0
    assert local.list_resources(client, NAME) == [f"volume {NAME}-state"]
    assert run(*deploy(NAME)).code == 0
    assert lasting(client) == before
    assert registry(client).pull("deploy/kept", "1").digest == pushed.digest


def test_destroy_leaves_nothing(client: DockerClient, pushed: ImageRef) -> None:
    assert run("destroy", "--name", NAME, "--yes").code == 0
    assert local.list_resources(client, NAME) == []
    done = run("status", "--name", NAME)
    assert (done.code, done.error) == (1, f'error: nothing is deployed under the name "{NAME}": run `tox -e deploy`')
