"""One, two and three hosts: what a cold herd costs, what faults and growth break, what a hit costs in a group."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import requests
from docker.errors import DockerException

from loadtests.benchmark.group_faults import CUT_OFF, DISK_FULL, FAULTS, SWIFT_AWAY, small_disk
from loadtests.benchmark.group_testbed import GroupTestbed, LoadFigures, start_group
from loadtests.benchmark.profiles import HEADLINE_CLIENTS, HIT, GroupProfile
from loadtests.benchmark.results import Results
from loadtests.benchmark.testbed import RequestFigures, median_figures
from loadtests.support.images import Image, Recipe
from loadtests.support.registry.media_types import ACCEPT
from loadtests.support.registry.protocol import get_blob, manifest_path
from registry_stack.console import fail
from registry_stack.errors import RegistryStackError
from registry_stack.progress import ProgressCallback

HERDS, DURING_FAULTS, GROWTH, HITS = "group herds", "group faults", "group growth", "group hits"
# How busy the machine was, which has another run's description.
MACHINE = "group machine"
STAGES = (HERDS, DURING_FAULTS, GROWTH, HITS, MACHINE)
SINGLE, MEMBER = "single host", "member of two"
_Measure = Callable[[GroupTestbed], RequestFigures]
_PROBLEM = "groups: "
_GROWN, _SHRUNK = "one more", "one fewer"
# Of the file system that the cache of a member has while its disk is to fill up.
_SMALL_MB = 256
_SERVED_DEADLINE_S = 300


def measure_group(results: Results, profile: GroupProfile, report: ProgressCallback) -> None:
    """Measure a single host, then a group of two beside it, and then that with a third."""
    for stage in STAGES:
        results.rows.pop(stage, None)
    for name in [name for name in results.problems if name.startswith(_PROBLEM)]:
        del results.problems[name]
    results.add(MACHINE, load=" ".join(f"{value:.2f}" for value in os.getloadavg()))
    with start_group(1, recipes(profile, (1,)), report) as single:
        results.versions["groups"] = f"registry {single.version.removeprefix('v')}"
        _measure_size(results, profile, single)
        with start_group(2, recipes(profile, (2, 3)), report) as group:
            with _noted(results, "hits"):
                _measure_hits(results, profile, single, group)
            _measure_size(results, profile, group)
            results.add(GROWTH, **during_growth(profile, group, 3))
            _measure_size(results, profile, group)
            results.add(GROWTH, **during_growth(profile, group, 2))


def recipes(profile: GroupProfile, sizes: Sequence[int]) -> list[Recipe]:
    """The images that groups of these sizes are measured with."""
    found = [HIT, *(profile.cold(size) for size in sizes)]
    for size in sizes:
        for fault in (*FAULTS, _GROWN, _SHRUNK):
            found += profile.of_faults(_slug(fault, size))
    return found


def _slug(fault: str, size: int) -> str:
    return f"{fault.lower().replace(', ', '-').replace(' ', '-')}-{size}"


def _measure_size(results: Results, profile: GroupProfile, testbed: GroupTestbed) -> None:
    members = len(testbed.mirrors)
    with _noted(results, f"herd, {members} hosts"):
        _measure_herd(results, profile, testbed)
    for name in FAULTS:
        if members > 1 or name != CUT_OFF:
            with _noted(results, f"{name}, {members} hosts"):
                results.add(DURING_FAULTS, **during_fault(profile, testbed, name))


@contextmanager
def _noted(results: Results, name: str) -> Iterator[None]:
    """The report shows a part that was aborted; the others still run."""
    try:
        yield
    except (RegistryStackError, DockerException, OSError) as error:
        results.problems[f"{_PROBLEM}{name}"] = str(error).partition("\n")[0]
        fail(f"{name}: {error}")


def _measure_herd(results: Results, profile: GroupProfile, testbed: GroupTestbed) -> None:
    """Let all clients, spread over all hosts, pull one cold image at once."""
    members, image = len(testbed.mirrors), testbed.images[profile.cold(len(testbed.mirrors)).repo]
    testbed.report(f"{profile.clients} clients on {profile.image_mb:g} MB, cold, {members} hosts")
    before = testbed.cached_bytes()
    testbed.upstream.reset_counters()
    pulls = testbed.pull(image, profile.clients)
    upstream_bytes = testbed.settled_upstream_bytes()
    cached = [now - earlier for now, earlier in zip(testbed.cached_bytes(), before, strict=True)]
    results.add(
        HERDS,
        members=members,
        clients=profile.clients,
        image_mb=image.size / 1e6,
        upstream_ratio=upstream_bytes / image.size,
        cached_mb=" / ".join(f"{one / 1e6:.0f}" for one in cached),
        mean_s=pulls.mean_s,
        slowest_s=pulls.slowest_s,
        complete=len(pulls.seconds),
        failed=pulls.failed,
        wrong=pulls.wrong,
        reason=pulls.reason,
    )


def during_fault(profile: GroupProfile, testbed: GroupTestbed, name: str) -> dict[str, Any]:
    """What clients saw who pulled and pushed before, during and after a fault."""
    members = len(testbed.mirrors)
    testbed.report(f"{name}, {members} hosts")
    with ExitStack() as stack:
        if name == DISK_FULL:
            stack.enter_context(small_disk(testbed.hosts[-1], _SMALL_MB))
        with _loaded(testbed, profile, _slug(name, members)) as figures:
            time.sleep(profile.calm_s)
            began = time.monotonic()
            with FAULTS[name](testbed):
                time.sleep(profile.swift_s if name == SWIFT_AWAY else profile.fault_s)
            seconds = time.monotonic() - began
            time.sleep(profile.calm_s)
    return {"members": members, "fault": name, "fault_s": seconds, **figures.row()}


@contextmanager
def _loaded(testbed: GroupTestbed, profile: GroupProfile, slug: str) -> Iterator[LoadFigures]:
    """Clients that pull images of which each host has the first half, and push."""
    images = [testbed.images[recipe.repo] for recipe in profile.of_faults(slug)]
    testbed.warm(images[: len(images) // 2])
    with testbed.load(images) as figures:
        yield figures


def during_growth(profile: GroupProfile, testbed: GroupTestbed, hosts: int) -> dict[str, Any]:
    """What clients saw while another number of hosts was deployed, and when the new one served."""
    before = len(testbed.mirrors)
    name = _GROWN if hosts > before else _SHRUNK
    testbed.report(f"{before} hosts, then {hosts}")
    with _loaded(testbed, profile, _slug(name, before)) as figures, ExitStack() as stack:
        served = stack.enter_context(_watched(testbed, before)) if hosts > before else []
        began = time.monotonic()
        testbed.resize(hosts)
        took = time.monotonic() - began
    serves_s = served[0] - began if served else None
    return {"before": before, "after": hosts, "serves_s": serves_s, "deploy_s": took, **figures.row()}


@contextmanager
def _watched(testbed: GroupTestbed, number: int) -> Iterator[list[float]]:
    """When the host of this number, which is not there yet, has served a manifest first."""
    options = testbed.mirror.options
    assert options is not None
    assert options.mirror_port is not None
    path = manifest_path(HIT.repo, HIT.tag)
    url, served, ended = f"https://localhost:{options.mirror_port + number}{path}", list[float](), threading.Event()

    def watch() -> None:
        while not served and not ended.wait(0.5):
            if _status(url, testbed.mirror.ca_file) == requests.codes.ok:
                served.append(time.monotonic())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield served
    finally:
        ended.set()
        watcher.join()


def _status(url: str, ca_file: str) -> int:
    try:
        return requests.get(url, headers={"Accept": ACCEPT}, verify=ca_file, timeout=5).status_code
    except requests.RequestException:
        return 0


def _measure_hits(results: Results, profile: GroupProfile, single: GroupTestbed, group: GroupTestbed) -> None:
    """Compare a member with the single host, in rounds, as the machine is not equally fast in all of them."""
    image = single.images[HIT.repo]
    for testbed in (single, group):
        testbed.warm([image])
    own, other = _layers_by_owner(group, image)
    load = (HEADLINE_CLIENTS, profile.round_s)

    def mirror(path: str) -> _Measure:
        return lambda testbed: testbed.wrk(0, path, *load)

    def registry(which: int) -> _Measure:
        return lambda testbed: testbed.wrk_registry(0, testbed.pushed()[which], *load)

    measures = {
        "tag": mirror(manifest_path(image.repo, image.reference)),
        "4 MB blob that it has": mirror(get_blob(image.repo, image.layers[own]).path),
        "4 MB blob that the other has": mirror(get_blob(image.repo, image.layers[other]).path),
        # Both are in Swift. A single host knows from redis that they are there.
        "pushed manifest": registry(0),
        "pushed small blob": registry(1),
    }
    for request, measure in measures.items():
        group.report(f"{request}, {profile.rounds} rounds")
        _add_hits(results, request, [_measure_round(single, group, measure, one) for one in range(profile.rounds)])


def _layers_by_owner(group: GroupTestbed, image: Image) -> tuple[int, int]:
    """A layer that the first member has, and one that it has not."""
    here = [group.has_blob(0, layer.digest) for layer in image.layers]
    if all(here) or not any(here):
        raise RegistryStackError(f"the first member has {sum(here)} of {len(here)} layers of {image.name}")
    return here.index(True), here.index(False)


def _measure_round(
    single: GroupTestbed, group: GroupTestbed, measure: _Measure, number: int
) -> dict[str, RequestFigures]:
    systems = {SINGLE: single, MEMBER: group}
    order = list(systems) if number % 2 else list(reversed(systems))
    return {name: measure(systems[name]) for name in order}


def _add_hits(results: Results, request: str, rounds: Sequence[dict[str, RequestFigures]]) -> None:
    base = [one[SINGLE] for one in rounds]
    for name in (SINGLE, MEMBER):
        figures = [one[name] for one in rounds]
        middle = median_figures(figures)
        row: dict[str, Any] = {"rps": middle.rps, "mb_per_s": middle.mb_per_s, "errors": middle.errors}
        ratios = sorted(mine.rps / theirs.rps for mine, theirs in zip(figures, base, strict=True))
        row |= {"p50_ms": middle.p50_ms, "p99_ms": middle.p99_ms, "rps_of_single": ratios[len(ratios) // 2]}
        results.add(HITS, request=request, of=name, **row)
