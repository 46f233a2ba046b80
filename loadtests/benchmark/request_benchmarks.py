"""Measures requests to every system: manifests by tag and by digest and a 64 MiB blob, by clients and by upstream."""

import random
from collections.abc import Sequence

from loadtests.benchmark.profiles import HEADLINE_CLIENTS, OUTAGE_CLIENTS, OUTAGE_REQUEST_S, Profile
from loadtests.benchmark.results import Results, Row
from loadtests.benchmark.systems_under_test import MIRROR, STATIC, SystemUnderTest
from loadtests.benchmark.testbed import RequestFigures, Testbed, median_figures, relative_figures
from loadtests.support.images import Image
from loadtests.support.registry.protocol import get_blob, manifest_path

REFUSING = "429"
Round = dict[str, RequestFigures]


def request_paths(small: Image, blob: Image) -> dict[str, str]:
    """The paths to request, by name."""
    return {
        "tag": manifest_path(small.repo, small.reference),
        "digest": manifest_path(small.repo, small.digest),
        "blob": get_blob(blob.repo, blob.layers[-1]).path,
    }


def measure_requests(testbed: Testbed, profile: Profile, results: Results, small: Image, blob: Image) -> None:
    """Measure the headline figures, then by number of clients, then by upstream."""
    for system in testbed.systems.all:
        testbed.warm(system, [small, blob])
    paths = request_paths(small, blob)
    _measure_headline(testbed, profile, results, paths)
    _measure_by_clients(testbed, profile, results, paths)
    _measure_by_upstream(testbed, profile, results, paths["tag"])


def _measure_headline(testbed: Testbed, profile: Profile, results: Results, paths: dict[str, str]) -> None:
    for request, path in paths.items():
        testbed.report(f"{request}, {HEADLINE_CLIENTS} clients, {profile.rounds} rounds")
        rounds = [_measure_round(testbed, path, profile.headline_s, number) for number in range(profile.rounds)]
        _add_rounds(results, "headline", request, "0 ms", rounds)


def _measure_round(testbed: Testbed, path: str, seconds: int, number: int) -> Round:
    """Measure each system once, so that a noisy moment does not hit only one of them.

    The order differs between rounds: what one leaves behind, such as logs to be written, slows down the next.
    """
    systems = random.Random(number).sample(testbed.systems.all, len(testbed.systems.all))
    return {system.name: testbed.wrk(system, path, HEADLINE_CLIENTS, seconds) for system in systems}


def _add_rounds(results: Results, stage: str, request: str, upstream: str, rounds: Sequence[Round]) -> None:
    """Add medians. Ratios are paired per round, because the machine is not equally fast in all of them."""
    for name in rounds[0]:
        figures = [one[name] for one in rounds]
        row = _add(results, stage, name, request, HEADLINE_CLIENTS, upstream, median_figures(figures))
        row |= relative_figures(figures, [one[STATIC] for one in rounds])


def _measure_by_clients(testbed: Testbed, profile: Profile, results: Results, paths: dict[str, str]) -> None:
    for request, path in paths.items():
        for clients in profile.clients:
            testbed.report(f"{request}, {clients} clients")
            for system in testbed.systems.all:
                figures = testbed.wrk(system, path, clients, profile.request_s)
                _add(results, "clients", system.name, request, clients, "0 ms", figures)


def _measure_by_upstream(testbed: Testbed, profile: Profile, results: Results, path: str) -> None:
    """Measure a tag while the upstream is slow or refuses all requests, in rounds that go through all upstreams."""
    faults = {f"{ms} ms": (ms / 1000, 0) for ms in profile.delays_ms} | {REFUSING: (0.0, 429)}
    rounds: dict[str, list[Round]] = {upstream: [] for upstream in faults}
    for number in range(profile.upstream_rounds):
        for upstream, (delay_s, status) in faults.items():
            testbed.report(f"tag, {HEADLINE_CLIENTS} clients, upstream: {upstream}, round {number + 1}")
            testbed.upstream.inject(delay_s, status)
            rounds[upstream].append(_measure_round(testbed, path, profile.request_s, number))
    testbed.upstream.clear_faults()
    for upstream, measured in rounds.items():
        _add_rounds(results, "upstream", "tag", upstream, measured)


def measure_outages(testbed: Testbed, profile: Profile, results: Results, small: Image) -> None:
    """Measure requests and pulls of a cached image while the upstream is down, then while it refuses all requests."""
    for state in ("killed", REFUSING):
        testbed.report(f"upstream {state}: requests to all systems, then {profile.outage_s} s of pulls")
        if state == REFUSING:
            testbed.upstream.inject(status=429)
        else:
            testbed.upstream.kill()
        try:
            for system in testbed.systems.all:
                seconds = profile.outage_s if system.name == MIRROR else min(profile.outage_s, 8)
                _measure_outage(testbed, results, system, small, state, seconds)
        finally:
            if state == REFUSING:
                testbed.upstream.clear_faults()
            else:
                testbed.upstream.restart()


def _measure_outage(
    testbed: Testbed, results: Results, system: SystemUnderTest, image: Image, state: str, seconds: int
) -> None:
    if system.name == STATIC:
        return
    path = manifest_path(image.repo, image.reference)
    requests = testbed.wrk(system, path, HEADLINE_CLIENTS, OUTAGE_REQUEST_S)
    pulls = testbed.pull(system, image, OUTAGE_CLIENTS, seconds=seconds, timeout_s=30)
    results.add(
        "outage",
        system=system.name,
        upstream=state,
        seconds=seconds,
        rps=requests.rps,
        errors=requests.errors,
        pulls=len(pulls.seconds),
        failed=pulls.failed,
        wrong=pulls.wrong,
        reason=pulls.reason,
    )


def _add(
    results: Results, stage: str, system: str, request: str, clients: int, upstream: str, figures: RequestFigures
) -> Row:
    return results.add(
        stage,
        system=system,
        request=request,
        clients=clients,
        upstream=upstream,
        rps=figures.rps,
        mb_per_s=figures.mb_per_s,
        p50_ms=figures.p50_ms,
        p99_ms=figures.p99_ms,
        errors=figures.errors,
    )
