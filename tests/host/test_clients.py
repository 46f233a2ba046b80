"""Real clients, configured by what `client-config` prints: Docker, BuildKit, Podman, Skopeo."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from testinfra.host import Host

from registry_stack.client_config import client_configuration
from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.machines.client import configure, image_digest
from registry_stack.product import TEMPLATE
from registry_stack.targets.local.host import LOCAL_DEFAULTS
from registry_stack.template.environment import Environment, SourcedValue
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from tests.host.journal import journal
from tests.host.targets import Target
from tests.support.oci import ImageRef, OciClient
from tests.support.outputs import render_output
from tests.support.upstream import Upstream


def log_in(machine: Machine, target: Target, kind: str, password: str) -> None:
    """Run the login that client-config prints, typing the password at a terminal as a person would."""
    there = f"https://{target.fqdn}"
    deployment = replace(target.deployment, mirror_url=there, registry_url=f"{there}:5000")
    (line,) = (line for line in client_configuration(kind, deployment).splitlines() if " login " in line)
    machine.exec(["script", "-qec", line, "/dev/null"], input=f"{password}\n".encode(), timeout=30)


@pytest.fixture(scope="module")
def machine(target: Target) -> Machine:
    """A Docker host that uses the mirror and is logged in at the registry, with Docker and with Podman."""
    machine = target.client("client")
    configure(machine, "podman", target.deployment, target.fqdn)
    for kind in ("docker", "podman"):
        log_in(machine, target, kind, target.deployment.password)
    return machine


@pytest.fixture(scope="module")
def image(upstream: Upstream) -> ImageRef:
    """An image of the upstream that only the first test pulls for the first time."""
    return upstream.push("library/for-clients", "1", [300_000, 5_000_000])


@pytest.fixture(scope="module")
def pushed(machine: Machine, target: Target, image: ImageRef) -> str:
    """The same image, pulled and pushed to the registry with Docker; its name there."""
    name = f"{target.fqdn}:5000/clients/docker:1"
    machine.exec(["docker", "pull", "--quiet", "for-clients:1"])
    machine.exec(["docker", "tag", "for-clients:1", name])
    machine.exec(["docker", "push", "--quiet", name])
    return name


def test_docker_pulls_through_the_mirror(machine: Machine, host: Host, upstream: Upstream, image: ImageRef) -> None:
    """On the word of the mirror and of its upstream: Docker itself would go on to Docker Hub without a sound."""
    since = journal(host)
    machine.exec(["docker", "pull", "for-clients:1"])
    assert image_digest(machine, "for-clients:1") == image.digest
    edge = "docker-registry-edge"
    assert since.until(edge, "/v2/library/for-clients/manifests/1 200", starting="mirror ")
    for blob in image.blobs:
        assert since.until(edge, f"/blobs/{blob.digest} 200", starting="mirror ")
        assert upstream.blob_fetches(blob.digest) > 0


def test_another_store_pulls_from_the_cache(machine: Machine, host: Host, upstream: Upstream, image: ImageRef) -> None:
    """Podman has a separate store; the image that Docker pulled before comes from the cache."""
    machine.exec(["docker", "pull", "--quiet", "for-clients:1"])
    before, since = upstream.blob_fetches(), journal(host)
    machine.exec(["podman", "pull", "--quiet", "docker.io/library/for-clients:1"])
    digest = machine.exec(["podman", "image", "inspect", "--format", "{{.Digest}}", "for-clients:1"]).out.strip()
    assert digest == image.digest
    assert since.until("docker-registry-edge", f"/v2/library/for-clients/blobs/{image.layers[0].digest} 200")
    assert upstream.blob_fetches() == before


def test_docker_pushes_and_podman_pulls(machine: Machine, registry: OciClient, pushed: str, image: ImageRef) -> None:
    assert registry.pull("clients/docker", "1").layers
    machine.exec(["podman", "pull", "--quiet", pushed])
    layers = machine.exec(["podman", "image", "inspect", "--format", "{{.RootFS.Layers}}", pushed]).out
    assert all(layer.digest in layers for layer in image.layers)


def test_podman_pushes_and_docker_pulls(machine: Machine, target: Target, registry: OciClient, pushed: str) -> None:
    name = f"{target.fqdn}:5000/clients/podman:1"
    machine.exec(["podman", "pull", "--quiet", pushed])
    machine.exec(["podman", "tag", pushed, name])
    machine.exec(["podman", "push", "--quiet", name])
    registry.pull("clients/podman", "1")
    machine.exec(["docker", "pull", "--quiet", name])


def test_buildkit_builds_on_it(machine: Machine, host: Host, upstream: Upstream) -> None:
    """The BuildKit in Docker asks registries by itself, the mirror first; again, from the cache.

    That of Docker 20.10 reads the mirrors when the engine starts, not when it is reloaded.
    """
    machine.restart()
    machine.wait_for_docker()
    image = upstream.push("library/for-buildkit", "1", [300_000, 100_000])
    machine.put("/srv/build/Dockerfile", b"FROM for-buildkit:1\nLABEL built=yes\n")
    build = ["env", "DOCKER_BUILDKIT=1", "docker", "build", "--pull", "--quiet", "--tag", "built", "/srv/build"]
    since = journal(host)
    machine.exec(build)
    for layer in image.layers:
        path = f"/v2/library/for-buildkit/blobs/{layer.digest} 200"
        assert since.until("docker-registry-edge", path, starting="mirror ")
    layers = json.loads(machine.exec(["docker", "inspect", "--format", "{{json .RootFS.Layers}}", "built"]).out)
    assert layers == [layer.digest for layer in image.layers]
    fetched = upstream.blob_fetches()
    machine.exec(["sh", "-euc", "docker rmi built; docker builder prune --all --force"])
    machine.exec(build)
    assert upstream.blob_fetches() == fetched


def test_skopeo_copies(machine: Machine, target: Target, registry: OciClient, pushed: str) -> None:
    copy = f"{target.fqdn}:5000/clients/skopeo:1"
    machine.exec(["skopeo", "copy", "--quiet", f"docker://{pushed}", f"docker://{copy}"])
    assert registry.pull("clients/skopeo", "1").digest == registry.manifest("clients/docker", "1").digest


def test_skopeo_reads_through_the_mirror(machine: Machine, image: ImageRef) -> None:
    command = ["skopeo", "inspect", "--no-tags", "--format", "{{.Digest}}", "docker://docker.io/library/for-clients:1"]
    assert machine.exec(command).out.strip() == image.digest


@pytest.fixture
def stack_configured(target: Target) -> Machine:
    """A Docker host on which the commands in the stack's output were run, and nothing else."""
    machine = target.client("by-output")
    lines = stack_configuration(target).splitlines()
    # The machine's first process is Docker: it is restarted with the machine.
    script = "\n".join(line for line in lines if not line.startswith(("systemctl ", "docker login ")))
    machine.exec(["sh", "-euc", f"rm -r /etc/docker\n{script}"])
    machine.restart()
    machine.wait_for_docker()
    (login,) = (line for line in lines if line.startswith("docker login "))
    machine.exec(["script", "-qec", login, "/dev/null"], input=f"{target.deployment.password}\n".encode(), timeout=30)
    return machine


def stack_configuration(target: Target) -> str:
    """The output `client_configuration` of a stack that made this host."""
    hostname, domain = target.fqdn.split(".", 1)
    own = {"hostname": hostname, "domain": domain, "dns_zone": f"{domain}."}
    own["registry_username"] = target.deployment.registry_username
    template = load_template(TEMPLATE)
    given = {name: SourcedValue(value, "the test") for name, value in own.items()}
    data = json.dumps({"ca": Path(target.deployment.ca_file).read_text()})
    values = resolve_parameters(template, Environment(given, {}), LOCAL_DEFAULTS)
    return str(render_output(template, "client_configuration", values, {("ready", "data"): data}))


def test_output_of_the_stack_configures_a_docker_host(
    stack_configured: Machine, target: Target, host: Host, registry: OciClient, upstream: Upstream
) -> None:
    image, since = upstream.push("library/by-output", "1", [1000]), journal(host)
    stack_configured.exec(["docker", "pull", "--quiet", "by-output:1"])
    assert since.until("docker-registry-edge", "/v2/library/by-output/manifests/1 200", starting="mirror ")
    assert image_digest(stack_configured, "by-output:1") == image.digest
    name = f"{target.fqdn}:5000/clients/by-output:1"
    stack_configured.exec(["docker", "tag", "by-output:1", name])
    stack_configured.exec(["docker", "push", "--quiet", name])
    assert registry.pull("clients/by-output", "1").layers


def test_push_to_the_mirror_is_refused(machine: Machine, target: Target, pushed: str) -> None:
    name = f"{target.fqdn}/library/pushed:1"
    machine.exec(["docker", "tag", pushed, name])
    with pytest.raises(RegistryStackError, match="this is a pull-through mirror: push to port 5000"):
        machine.exec(["docker", "push", name])


def test_wrong_password_is_refused(machine: Machine, target: Target) -> None:
    user, registry = target.deployment.registry_username, f"{target.fqdn}:5000"
    command = ["docker", "login", "--username", user, "--password-stdin", registry]
    assert "401 Unauthorized" in machine.exec(command, input=b"wrong", check=False).err
    log_in(machine, target, "docker", target.deployment.password)


def test_pull_without_login_is_refused(machine: Machine, pushed: str) -> None:
    pull = machine.exec(["env", "DOCKER_CONFIG=/nowhere", "docker", "pull", pushed], check=False)
    assert "authentication required" in pull.err or "no basic auth credentials" in pull.err


def test_client_without_the_ca_refuses_the_host(machine: Machine, pushed: str) -> None:
    command = ["skopeo", "inspect", "--cert-dir", "/var/empty", f"docker://{pushed}"]
    assert "certificate signed by unknown authority" in machine.exec(command, check=False).err
