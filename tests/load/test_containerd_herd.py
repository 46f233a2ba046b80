"""Real containerd, asked through CRI as by a kubelet, gives up on a pull without progress: three hosts at once pull a
cold layer that takes many times as long as their patience."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from loadtests.support.images import Image, Recipe
from loadtests.support.mirror import Mirror, temporary_mirror
from registry_stack.docker.machine import Machine
from registry_stack.machines.client import ClientNetwork, configure, docker_client
from registry_stack.targets.local.options import DEPLOYMENT_LABEL
from tests.support.deadlines import wait_until

HOSTS, LAYER_MB, LINK_MBITS = 3, 1000, 50
PATIENCE = "10s"
NAME = "registry.localdomain"
SOCKET = "/run/cri.sock"
CTR = f"ctr --address {SOCKET} --namespace k8s.io"
CONFIG = f"""
version = 2
root = "/var/lib/docker/cri"
state = "/run/cri"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  image_pull_progress_timeout = "{PATIENCE}"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
"""
# gRPC in the form that curl speaks it: a flag, a length of four bytes, a message. Debian has no crictl.
PULL = (
    f"curl --silent --show-error --http2-prior-knowledge --unix-socket {SOCKET} --dump-header - --output /dev/null"
    " --header 'content-type: application/grpc' --header 'te: trailers' --data-binary @-"
    " http://localhost/runtime.v1.ImageService/PullImage"
)


@pytest.fixture
def large_mirror(state: None) -> Iterator[tuple[Mirror, Image]]:
    """A mirror that fetches a layer of this size once, and the image that has it."""
    recipe = Recipe("library/cri", "1", (LAYER_MB,))
    with temporary_mirror([recipe], ["fetch_storage_gb=3"], prefix="loadtest-cri") as (mirror, (image,)):
        yield mirror, image


@pytest.fixture
def hosts(large_mirror: tuple[Mirror, Image]) -> Iterator[list[Machine]]:
    mirror, _image = large_mirror
    assert mirror.deployment is not None
    assert mirror.upstream is not None
    name, client = mirror.deployment.name, mirror.upstream.machine.client
    machines: list[Machine] = []
    try:
        for number in range(HOSTS):
            place, labels = ClientNetwork(f"{name}-net"), {DEPLOYMENT_LABEL: name}
            machine = docker_client(
                client, f"{name}-cri{number}", place, labels, mirror.deployment, NAME, suite="trixie"
            )
            machines.append(machine)
            configure(machine, "containerd", mirror.deployment, NAME)
            machine.put("/etc/cri.toml", CONFIG.encode())
            machine.exec(["sh", "-c", "nohup containerd --config /etc/cri.toml >/var/log/cri.log 2>&1 &"])
            wait_until(lambda one=machine: probe(one), 30, "containerd")  # type: ignore[misc]
        yield machines
    finally:
        for machine in machines:
            machine.remove()


def probe(machine: Machine) -> str | None:
    """Whether containerd answers."""
    done = machine.exec(["sh", "-c", f"{CTR} version"], check=False)
    return None if done.code == 0 else done.tail(1)


def pull(machine: Machine, reference: str) -> str:
    """Ask for an image as a kubelet does; the status of the answer, 0 if all went well."""
    image = b"\x0a" + bytes([len(reference)]) + reference.encode()
    message = b"\x0a" + bytes([len(image)]) + image
    done = machine.exec(["sh", "-c", PULL], input=b"\0" + len(message).to_bytes(4, "big") + message)
    status = [line for line in done.out.splitlines() if line.startswith(("grpc-status", "grpc-message"))]
    return " ".join(status).strip()


@pytest.mark.long
def test_hosts_that_give_up_without_progress_all_complete(
    hosts: list[Machine], large_mirror: tuple[Mirror, Image]
) -> None:
    mirror, image = large_mirror
    assert mirror.upstream is not None
    mirror.upstream.limit(LINK_MBITS)
    mirror.upstream.reset_counters()
    with ThreadPoolExecutor(HOSTS) as pool:
        said = list(pool.map(lambda machine: pull(machine, f"docker.io/{image.name}"), hosts))
    assert [one.split()[:2] for one in said] == [["grpc-status:", "0"]] * HOSTS, said
    for machine in hosts:
        # containerd has verified what it has under its digest.
        assert image.layers[0].digest in machine.exec(["sh", "-c", f"{CTR} content list --quiet"]).out
    assert mirror.upstream.counters()["bytes"] < 1.02 * image.size
