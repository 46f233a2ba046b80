"""Measures pulls of whole images: a 206 MB one a thousand times, herds on cold images, and a real Docker host."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from loadtests.benchmark.profiles import Profile
from loadtests.benchmark.results import Results
from loadtests.benchmark.systems_under_test import MIRROR, STATIC, SystemUnderTest
from loadtests.benchmark.testbed import NAME, Testbed
from loadtests.support.fake_upstream import AUTHORITY
from loadtests.support.host_usage import memory_mib
from loadtests.support.images import Image
from loadtests.support.registry.protocol import manifest_path
from registry_stack.docker.machine import Machine
from registry_stack.machines.client import ClientNetwork, docker_client
from registry_stack.targets.local.options import DEPLOYMENT_LABEL

# Mean seconds of a pull of a 206 MB image from registry 2, by clients, published in 2016.
PUBLISHED_2016 = {1: 0.68, 10: 1.11, 30: 2.70, 50: 4.49, 100: 8.82}


def measure_herd(testbed: Testbed, profile: Profile, results: Results) -> None:
    """Let all clients pull one cold image at once over an unlimited link, and count the upstream's bytes."""
    (image,) = testbed.upstream.add([profile.herd()], testbed.report)
    for system in testbed.systems.all:
        if system.caches:
            testbed.report(f"{profile.herd_clients} clients on a cold image through {system.name}")
            _measure_herd(testbed, results, system, image, profile.herd_clients, "unlimited")


def measure_limited(testbed: Testbed, profile: Profile, results: Results) -> None:
    """Let one client alone, then all of them pull a cold image through the mirror over a limited link."""
    alone, together = testbed.upstream.add([profile.limited("alone"), profile.limited("herd")], testbed.report)
    testbed.upstream.limit(profile.limited_mbits)
    try:
        for image, clients in ((alone, 1), (together, profile.limited_clients)):
            link = f"{profile.limited_mbits:g} Mbit/s"
            testbed.report(f"{clients} clients on {profile.limited_mb:g} MB over {link}")
            _measure_herd(testbed, results, testbed.systems.mirror, image, clients, link)
    finally:
        testbed.upstream.limit(None)


def _measure_herd(
    testbed: Testbed, results: Results, system: SystemUnderTest, image: Image, clients: int, link: str
) -> None:
    testbed.upstream.reset_counters()
    started = time.monotonic()
    pulls = testbed.pull(system, image, clients, clients)
    took = time.monotonic() - started
    results.add(
        "herd",
        system=system.name,
        clients=clients,
        link=link,
        image_mb=image.size / 1e6,
        upstream_ratio=_settled_bytes(testbed) / image.size,
        slowest_s=pulls.slowest_s,
        mean_s=pulls.mean_s,
        took_s=took,
        complete=len(pulls.seconds),
        failed=pulls.failed,
        wrong=pulls.wrong,
        reason=pulls.reason,
    )


def _settled_bytes(testbed: Testbed) -> int:
    """The upstream's bytes once it sends no more: a proxy may fetch on after its clients have been served."""
    before = -1
    while (now := testbed.upstream.counters().get("bytes", 0)) != before:
        before = now
        time.sleep(1)
    return now


def measure_pulls(testbed: Testbed, profile: Profile, results: Results, image: Image) -> None:
    """Pull a warm image many times from the mirror, alone on its host, and watch the memory of the whole host."""
    mirror, static = testbed.systems.mirror, testbed.systems.static
    most_clients = max(profile.pulls)
    clients = min(10, most_clients)
    pulls = testbed.pull(static, image, clients, min(50, *profile.pulls.values()))
    results.add("static pulls", system=STATIC, clients=clients, mean_s=pulls.mean_s, failed=pulls.failed)
    testbed.systems.stop_others()
    testbed.warm(mirror, [image])
    with memory_watched(testbed.host) as samples:
        for clients, count in profile.pulls.items():
            testbed.report(f"{count} pulls of {image.size / 1e6:.0f} MB by {clients} clients")
            started = time.monotonic()
            pulls = testbed.pull(mirror, image, clients, count)
            took = time.monotonic() - started
            results.add(
                "pulls",
                system=MIRROR,
                clients=clients,
                pulls=len(pulls.seconds),
                mean_s=pulls.mean_s,
                slowest_s=pulls.slowest_s,
                mb_per_s=len(pulls.seconds) * image.size / 1e6 / took,
                published_s=PUBLISHED_2016.get(clients),
                failed=pulls.failed,
                wrong=pulls.wrong,
                reason=pulls.reason,
            )
        testbed.wrk(mirror, manifest_path(image.repo, image.reference), 100, profile.headline_s)
    results.add("memory", system=MIRROR, peak_mib=max(samples, default=None), samples=len(samples))


@contextmanager
def memory_watched(host: Machine) -> Iterator[list[float]]:
    """Sample the MiB of the whole host that cannot be reclaimed, while the context lasts."""
    samples: list[float] = []
    finished = threading.Event()

    def watch() -> None:
        while not finished.is_set():
            samples.append(memory_mib(host))
            finished.wait(0.5)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        finished.set()
        watcher.join()


def measure_docker(testbed: Testbed, profile: Profile, results: Results) -> None:
    """Pull with a real Docker host: cold directly from the upstream, then cold and warm through the mirror."""
    name = testbed.deployment.name
    machine = docker_client(
        testbed.upstream.machine.client,
        f"{name}-docker",
        ClientNetwork(f"{name}-net"),
        {DEPLOYMENT_LABEL: name},
        testbed.deployment,
        NAME,
        testbed.report,
    )
    # Docker also pulls from the upstream itself.
    machine.put(f"/etc/docker/certs.d/{AUTHORITY}/ca.crt", testbed.upstream.ca.encode())
    for megabits, delay_s, link in (
        (None, 0.0, "unlimited"),
        (profile.docker_mbits, 0.02, f"{profile.docker_mbits:g} Mbit/s, 20 ms"),
    ):
        suffix = "slow" if megabits else "fast"
        direct, mirrored = (
            testbed.upstream.add(profile.docker(path, suffix), testbed.report) for path in ("direct", "mirror")
        )
        testbed.upstream.limit(megabits)
        testbed.upstream.inject(delay_s)
        _measure_docker_pulls(testbed, results, machine, list(zip(direct, mirrored, strict=True)), link)
    testbed.upstream.limit(None)
    testbed.upstream.clear_faults()
    machine.remove()


def _measure_docker_pulls(
    testbed: Testbed, results: Results, machine: Machine, rounds: list[tuple[Image, Image]], link: str
) -> None:
    seconds: dict[str, list[float]] = {"direct": [], "mirror, cold": [], "mirror, warm": []}
    for direct, mirrored in rounds:
        testbed.report(f"docker pull of {direct.name} and {mirrored.name}, {link}")
        seconds["direct"].append(_docker_pull(machine, f"{AUTHORITY}/{direct.name}"))
        seconds["mirror, cold"].append(_docker_pull(machine, mirrored.name))
        seconds["mirror, warm"].append(_docker_pull(machine, mirrored.name))
    for path, measured in seconds.items():
        results.add("docker", path=path, link=link, median_s=median(measured), rounds=len(measured))


def _docker_pull(machine: Machine, reference: str) -> float:
    started = time.monotonic()
    machine.exec(["docker", "pull", "--quiet", reference], timeout=600)
    took = time.monotonic() - started
    machine.exec(["docker", "rmi", "--force", reference])
    return took
