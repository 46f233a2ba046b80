"""Requests: manifests by tag and by digest and a 64 MiB blob, from every contender, over clients and upstreams."""

import random
from collections.abc import Sequence

from loadtests.benchmark.profiles import HEADLINE_CLIENTS, Plan
from loadtests.benchmark.results import Results, Row
from loadtests.benchmark.systems_under_test import EDGE, STATIC, Contender
from loadtests.benchmark.testbed import Bench, Requests, middle, of_static
from loadtests.support.images import Image

LIMITED = "429"
AWAY_ASKED_S = 2


def paths(small: Image, blob: Image) -> dict[str, str]:
    """What is asked for, by name."""
    by = f"/v2/{small.repo}/manifests"
    return {
        "tag": f"{by}/{small.tag}",
        "digest": f"{by}/{small.manifest_digest}",
        "blob": f"/v2/{blob.repo}/blobs/{blob.blobs[-1][0]}",
    }


def measure_requests(bench: Bench, plan: Plan, results: Results, small: Image, blob: Image) -> None:
    """The headline rounds, then the grid."""
    for contender in bench.contenders.all:
        bench.warm(contender, [small, blob])
    asked = paths(small, blob)
    _headline(bench, plan, results, asked)
    _clients(bench, plan, results, asked)
    _upstreams(bench, plan, results, asked["tag"])


def _headline(bench: Bench, plan: Plan, results: Results, asked: dict[str, str]) -> None:
    """At 16 connections, in rounds."""
    for request, path in asked.items():
        bench.report(f"{request}, {HEADLINE_CLIENTS} clients, {plan.rounds} rounds")
        rounds = [_round(bench, path, plan.headline_s, number) for number in range(plan.rounds)]
        _add_rounds(results, "headline", request, "0 ms", rounds)


def _round(bench: Bench, path: str, seconds: int, number: int) -> dict[str, Requests]:
    """Everyone has a turn, so that a noisy moment is not one contender's; by name.

    In another order each time: what one leaves to be done, logs above all, falls to the next.
    """
    contenders = random.Random(number).sample(bench.contenders.all, len(bench.contenders.all))
    return {one.name: bench.wrk(one, path, HEADLINE_CLIENTS, seconds) for one in contenders}


def _add_rounds(
    results: Results, stage: str, request: str, upstream: str, rounds: Sequence[dict[str, Requests]]
) -> None:
    """The medians; what each came to of nginx static is taken round by round: a machine is not as fast in every one."""
    for name in rounds[0]:
        found = [one[name] for one in rounds]
        row = _add(results, stage, name, request, HEADLINE_CLIENTS, upstream, middle(found))
        row |= of_static(found, [one[STATIC] for one in rounds])


def _clients(bench: Bench, plan: Plan, results: Results, asked: dict[str, str]) -> None:
    for request, path in asked.items():
        for clients in plan.clients:
            bench.report(f"{request}, {clients} clients")
            for contender in bench.contenders.all:
                found = bench.wrk(contender, path, clients, plan.request_s)
                _add(results, "clients", contender.name, request, clients, "0 ms", found)


def _upstreams(bench: Bench, plan: Plan, results: Results, path: str) -> None:
    """A tag, while the upstream is slower, and while it refuses everything: in rounds, each with every upstream."""
    behaviours = {f"{ms} ms": (ms / 1000, 0) for ms in plan.delays_ms} | {LIMITED: (0.0, 429)}
    rounds: dict[str, list[dict[str, Requests]]] = {upstream: [] for upstream in behaviours}
    for number in range(plan.upstream_rounds):
        for upstream, (delay, status) in behaviours.items():
            bench.report(f"tag, {HEADLINE_CLIENTS} clients, upstream: {upstream}, round {number + 1}")
            bench.standin.behave(delay, status)
            rounds[upstream].append(_round(bench, path, plan.request_s, number))
    bench.standin.behave()
    for upstream, found in rounds.items():
        _add_rounds(results, "upstream", "tag", upstream, found)


def measure_down(bench: Bench, plan: Plan, results: Results, small: Image) -> None:
    """The upstream is killed, and refuses everything: requests and whole pulls of what is cached."""
    for state in ("killed", LIMITED):
        bench.report(f"upstream {state}: requests to all, then {plan.away_s} s of pulls at full load")
        if state == LIMITED:
            bench.standin.behave(status=429)
        else:
            bench.standin.stop()
        try:
            for contender in bench.contenders.all:
                seconds = plan.away_s if contender.name == EDGE else min(plan.away_s, 8)
                _pulls_while(bench, results, contender, small, state, seconds)
        finally:
            if state == LIMITED:
                bench.standin.behave()
            else:
                bench.standin.start_again()


def _pulls_while(bench: Bench, results: Results, contender: Contender, image: Image, state: str, seconds: int) -> None:
    if contender.name == STATIC:
        return
    path = f"/v2/{image.repo}/manifests/{image.tag}"
    asked = bench.wrk(contender, path, HEADLINE_CLIENTS, AWAY_ASKED_S)
    pulled = bench.pull(contender, image, 8, seconds=seconds, patience_s=30)
    results.add(
        "down",
        contender=contender.name,
        upstream=state,
        seconds=seconds,
        rps=asked.rps,
        bad=asked.bad,
        pulls=len(pulled.seconds),
        failed=pulled.failed,
        wrong=pulled.wrong,
        reason=pulled.reason,
    )


def _add(
    results: Results, stage: str, contender: str, request: str, clients: int, upstream: str, found: Requests
) -> Row:
    return results.add(
        stage,
        contender=contender,
        request=request,
        clients=clients,
        upstream=upstream,
        rps=found.rps,
        mb_per_s=found.mb_per_s,
        p50_ms=found.p50_ms,
        p99_ms=found.p99_ms,
        bad=found.bad,
    )
