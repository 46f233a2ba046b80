"""Whole images: a 206 MB one a thousand times, herds on cold ones, and cold pulls by a real Docker host."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from loadtests.benchmark.profiles import Plan
from loadtests.benchmark.results import Results
from loadtests.benchmark.systems_under_test import EDGE, STATIC, Contender
from loadtests.benchmark.testbed import NAME, Bench
from loadtests.support.fake_upstream import AUTHORITY
from loadtests.support.host import memory_mib
from loadtests.support.images import Image
from registry_stack.docker.machine import Machine
from registry_stack.machines.client import ClientNetwork, docker_client
from registry_stack.targets.local.options import DEPLOYMENT_LABEL

# Mean seconds of a pull of a 206 MB image from registry 2, by clients, published in 2016.
PUBLISHED_2016 = {1: 0.68, 10: 1.11, 30: 2.70, 50: 4.49, 100: 8.82}


def measure_herd(bench: Bench, plan: Plan, results: Results) -> None:
    """All clients on one cold image over an unlimited link: what the upstream has to send for it."""
    (image,) = bench.standin.add([plan.herd()], bench.report)
    for contender in bench.contenders.all:
        if not contender.caches:
            continue
        bench.report(f"herd of {plan.herd_clients} on {contender.name}")
        _herd(bench, results, contender, image, plan.herd_clients, "unlimited")


def measure_limited(bench: Bench, plan: Plan, results: Results) -> None:
    """The edge over a limited link: one client alone, then the herd."""
    edge = bench.contenders.all[0]
    alone, together = bench.standin.add([plan.limited("alone"), plan.limited("herd")], bench.report)
    bench.standin.limit(plan.limited_mbits)
    try:
        for image, clients in ((alone, 1), (together, plan.limited_clients)):
            bench.report(f"{clients} on {plan.limited_mb:g} MB over {plan.limited_mbits:g} Mbit/s")
            _herd(bench, results, edge, image, clients, f"{plan.limited_mbits:g} Mbit/s")
    finally:
        bench.standin.limit(None)


def _herd(bench: Bench, results: Results, contender: Contender, image: Image, clients: int, link: str) -> None:
    bench.standin.reset()
    started = time.monotonic()
    found = bench.pull(contender, image, clients, clients)
    took = time.monotonic() - started
    results.add(
        "herd",
        contender=contender.name,
        clients=clients,
        link=link,
        image_mb=image.size / 1e6,
        upstream_ratio=_settled(bench) / image.size,
        slowest_s=found.slowest,
        mean_s=found.mean,
        took_s=took,
        right=len(found.seconds),
        failed=found.failed,
        wrong=found.wrong,
        reason=found.reason,
    )


def _settled(bench: Bench) -> int:
    """What the upstream has sent, once it sends no more: a proxy may go on when its clients are served."""
    before = -1
    while (now := bench.standin.counters().get("bytes", 0)) != before:
        before = now
        time.sleep(1)
    return now


def measure_pulls(bench: Bench, plan: Plan, results: Results, image: Image) -> None:
    """The edge alone on its host: many verified pulls of a warm image, the memory of the whole host meanwhile."""
    edge = bench.contenders.all[0]
    static = next(one for one in bench.contenders.all if one.name == STATIC)
    clients = max(plan.pulls)
    limit = bench.pull(static, image, min(10, clients), min(50, *plan.pulls.values()))
    results.add("static pulls", contender=STATIC, clients=min(10, clients), mean_s=limit.mean, failed=limit.failed)
    bench.contenders.stop_others()
    bench.warm(edge, [image])
    with memory_watched(bench.host) as seen:
        for clients, pulls in plan.pulls.items():
            bench.report(f"{pulls} pulls of {image.size / 1e6:.0f} MB by {clients} clients")
            started = time.monotonic()
            found = bench.pull(edge, image, clients, pulls)
            took = time.monotonic() - started
            results.add(
                "pulls",
                contender=EDGE,
                clients=clients,
                pulls=len(found.seconds),
                mean_s=found.mean,
                slowest_s=found.slowest,
                mb_per_s=len(found.seconds) * image.size / 1e6 / took,
                published_s=PUBLISHED_2016.get(clients),
                failed=found.failed,
                wrong=found.wrong,
                reason=found.reason,
            )
        path = f"/v2/{image.repo}/manifests/{image.tag}"
        bench.wrk(edge, path, 100, plan.headline_s)
    results.add("memory", contender=EDGE, most_mib=max(seen, default=None), samples=len(seen))


@contextmanager
def memory_watched(host: Machine) -> Iterator[list[float]]:
    """MiB of the whole host that cannot be reclaimed, sampled as long as this lasts."""
    seen: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(memory_mib(host))
            over.wait(0.5)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()


def measure_docker(bench: Bench, plan: Plan, results: Results) -> None:
    """A real Docker host: cold straight from the upstream, cold and warm through the mirror, taking turns."""
    assert bench.mirror.deployment is not None
    name = bench.mirror.deployment.name
    machine = docker_client(
        bench.standin.machine.client,
        f"{name}-docker",
        ClientNetwork(f"{name}-net"),
        {DEPLOYMENT_LABEL: name},
        bench.mirror.deployment,
        NAME,
        bench.report,
    )
    # So that Docker also pulls from the upstream itself.
    machine.put(f"/etc/docker/certs.d/{AUTHORITY}/ca.crt", bench.standin.ca.encode())
    for link, delay in ((None, 0.0), (plan.docker_mbits, 0.02)):
        images = bench.standin.add(plan.docker("slow" if link else "fast"))
        bench.standin.limit(link)
        bench.standin.behave(delay)
        _docker_pulls(bench, results, machine, images, link)
    bench.standin.limit(None)
    bench.standin.behave()
    machine.remove()


def _docker_pulls(bench: Bench, results: Results, machine: Machine, images: list[Image], link: float | None) -> None:
    found: dict[str, list[float]] = {"direct": [], "mirror, cold": [], "mirror, warm": []}
    for image in images:
        reference = f"{image.repo}:{image.tag}"
        bench.report(f"docker pull {reference}, {'unlimited' if link is None else f'{link:g} Mbit/s, 20 ms'}")
        if "direct" in image.repo:
            found["direct"].append(_docker_pull(machine, f"{AUTHORITY}/{reference}"))
            continue
        found["mirror, cold"].append(_docker_pull(machine, reference))
        found["mirror, warm"].append(_docker_pull(machine, reference))
    for way, seconds in found.items():
        shown = "unlimited" if link is None else f"{link:g} Mbit/s, 20 ms"
        results.add("docker", way=way, link=shown, median_s=median(seconds), rounds=len(seconds))


def _docker_pull(machine: Machine, reference: str) -> float:
    started = time.monotonic()
    machine.exec(["docker", "pull", "--quiet", reference], timeout=600)
    took = time.monotonic() - started
    machine.exec(["docker", "rmi", "--force", reference])
    return took
