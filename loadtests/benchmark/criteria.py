"""The figures that issue 4 demands, by name, each from rows of this very run."""

from loadtests.benchmark.profiles import Plan
from loadtests.benchmark.results import Results
from loadtests.benchmark.systems_under_test import EDGE, PLAIN, PROXY_2, PROXY_3, STATIC

_MEMORY_MIB = 600


def judge(results: Results, plan: Plan) -> None:
    """Name them all."""
    _tags(results)
    _digests_and_blobs(results)
    _herds(results, plan)
    _pulls(results)
    _outages(results)


def _headline(results: Results, request: str, contender: str, column: str) -> float | None:
    return results.value("headline", column, request=request, contender=contender)


def _tags_against(results: Results, other: str, contender: str = EDGE) -> float | None:
    """Tags per second as a multiple of another's."""
    return results.ratio(_headline(results, "tag", contender, "rps"), _headline(results, "tag", other, "rps"))


def _of_static(results: Results, request: str, column: str = "rps") -> float | None:
    """The edge's figure as a multiple of nginx static's, round by round."""
    return _headline(results, request, EDGE, f"{column}_of_static")


def _tags(results: Results) -> None:
    demand = results.demand
    demand("1 tag hit, requests per second of nginx static", 0.9, _of_static(results, "tag"), at_most=False)
    demand("1 tag hit, p99 of nginx static's", 2, _of_static(results, "tag", "p99_ms"), at_most=True)
    for name, proxy, times in (("2.8", PROXY_2, 100), ("3.x", PROXY_3, 60)):
        found, most = _tags_against(results, proxy), _tags_against(results, proxy, STATIC)
        note = f"nginx static: {most:.3g}×" if most else "no image of it at hand: --registry-3"
        title = f"1 tag hit, requests per second of the bare {name} proxy"
        demand(title, times, found, at_most=False, note=note)
    slow, fast = (
        results.value("upstream", "rps_of_static", contender=EDGE, upstream=upstream) for upstream in ("100 ms", "0 ms")
    )
    note = "unchanged: within a tenth, each as it is beside nginx static"
    demand("1 tag hit, upstream at 100 ms over 0 ms", 0.9, results.ratio(slow, fast), at_most=False, note=note)


def _digests_and_blobs(results: Results) -> None:
    demand = results.demand
    demand("2 digest hit, requests per second of nginx static", 0.9, _of_static(results, "digest"), at_most=False)
    blob = _of_static(results, "blob", "mb_per_s")
    demand("2 64 MiB blob, throughput of nginx static", 0.95, blob, at_most=False)
    memory = results.value("memory", "most_mib", contender=EDGE)
    demand("2 memory of the whole host under load", _MEMORY_MIB, memory, at_most=True, unit=" MiB")


def _herds(results: Results, plan: Plan) -> None:
    demand, link = results.demand, f"{plan.limited_mbits:g} Mbit/s"
    # What the edge's proxy may cost: 2.8 fetches for its client and for its store.
    fetches = 2 if "registry 2." in results.versions.get(EDGE, "") else 1
    allowed = fetches * 1.02
    note = f"{fetches}.0× and 2 % for manifests; the edge is {results.versions.get(EDGE, '?')}"
    for clients, on, size in (
        (plan.herd_clients, "unlimited", plan.herd_mb),
        (plan.limited_clients, link, plan.limited_mb),
    ):
        row = results.find("herd", contender=EDGE, link=on, clients=clients)
        name = f"3 herd of {clients} on a cold {size:g} MB image, {on}"
        ratio = None if row is None else float(row["upstream_ratio"])
        left = None if row is None else float(clients - row["right"])
        demand(f"{name}: upstream bytes", allowed, ratio, at_most=True, note=note)
        demand(f"{name}: clients not right", 0, left, at_most=True, unit="")
    alone = results.value("herd", "slowest_s", contender=EDGE, link=link, clients=1)
    herd = results.value("herd", "slowest_s", contender=EDGE, link=link, clients=plan.limited_clients)
    demand(f"3 herd, {link}: slowest of one client alone", 1.3, results.ratio(herd, alone), at_most=True)


def _pulls(results: Results) -> None:
    for link in dict.fromkeys(row["link"] for row in results.rows.get("docker", [])):
        cold = results.value("docker", "median_s", way="mirror, cold", link=link)
        direct = results.value("docker", "median_s", way="direct", link=link)
        name = f"4 docker pull, cold through the mirror of direct, {link}"
        note = "without a link only the processors are measured, which all share" if link == "unlimited" else ""
        results.demand(name, 1.1, results.ratio(cold, direct), at_most=True, note=note)
    for row in results.rows.get("pulls", []):
        wrong = float(row["failed"] + row["wrong"])
        results.demand(
            f"4 {row['pulls']} pulls by {row['clients']} clients: not right", 0, wrong, at_most=True, unit=""
        )


def _outages(results: Results) -> None:
    for state in ("killed", "429"):
        row = results.find("down", contender=EDGE, upstream=state)
        failed = None if row is None or not row["pulls"] else float(row["failed"] + row["wrong"] + row["bad"])
        note = f"{row['pulls']} pulls in {row['seconds']} s" if row else ""
        results.demand(f"5 upstream {state}: failed pulls and requests", 0, failed, at_most=True, unit="", note=note)
    mixed = results.find("mixed")
    wrong = None if mixed is None or mixed["wrong"] is None else float(mixed["wrong"])
    results.demand("5 redis, proxy, edge killed in turn: wrong bytes", 0, wrong, at_most=True, unit="")
    unexplained = None if mixed is None else mixed["unexplained"]
    name = "5 … requests that failed and were not sent to the killed one"
    results.demand(name, 0, unexplained, at_most=True, unit="", note=mixed["note"] if mixed else "")


def others() -> tuple[str, ...]:
    """The contenders in the order of tables and plots."""
    return (STATIC, EDGE, PLAIN, PROXY_3, PROXY_2)
