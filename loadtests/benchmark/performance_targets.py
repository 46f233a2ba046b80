"""The performance targets of the mirror, each checked against rows of one run."""

from loadtests.benchmark.profiles import Profile
from loadtests.benchmark.results import Results, ratio
from loadtests.benchmark.systems_under_test import MIRROR, PROXY_2, PROXY_3, STATIC

_MEMORY_MIB = 600


def check_targets(results: Results, profile: Profile) -> None:
    """Add all targets to the results."""
    _tags(results)
    _digests_and_blobs(results)
    _herds(results, profile)
    _pulls(results)
    _outages(results)
    _groups(results)


def rate_relative_to(results: Results, other: str, system: str = MIRROR) -> float | None:
    """The rate at which a system answers tags, relative to another's."""
    rate, base = (results.value("headline", "rps", request="tag", system=name) for name in (system, other))
    return ratio(rate, base)


def relative_to_static(results: Results, request: str, column: str = "rps") -> float | None:
    """The mirror's figure relative to that of nginx serving static files, paired per round."""
    return results.value("headline", f"{column}_of_static", request=request, system=MIRROR)


def _tags(results: Results) -> None:
    target = results.target
    target("tag: rate vs nginx static", 0.9, relative_to_static(results, "tag"), at_most=False)
    target("tag: p99 latency vs nginx static", 2, relative_to_static(results, "tag", "p99_ms"), at_most=True)
    for version, proxy, limit in (("2.8", PROXY_2, 100), ("3.x", PROXY_3, 60)):
        measured, best = rate_relative_to(results, proxy), rate_relative_to(results, proxy, STATIC)
        note = f"nginx static reaches {best:.3g}×" if best else "needs an image: --registry-3"
        target(f"tag: rate vs bare registry {version} proxy", limit, measured, at_most=False, note=note)
    slow, fast = (
        results.value("upstream", "rps_of_static", system=MIRROR, upstream=upstream) for upstream in ("100 ms", "0 ms")
    )
    note = "both relative to nginx static"
    target("tag: rate with 100 ms upstream delay vs none", 0.9, ratio(slow, fast), at_most=False, note=note)


def _digests_and_blobs(results: Results) -> None:
    target = results.target
    target("digest: rate vs nginx static", 0.9, relative_to_static(results, "digest"), at_most=False)
    blob = relative_to_static(results, "blob", "mb_per_s")
    target("64 MiB blob: throughput vs nginx static", 0.95, blob, at_most=False)
    memory = results.value("memory", "peak_mib", system=MIRROR)
    target("peak memory of the whole host", _MEMORY_MIB, memory, at_most=True, unit=" MiB")


def _herds(results: Results, profile: Profile) -> None:
    target, limited_link = results.target, f"{profile.limited_mbits:g} Mbit/s"
    # Registry 2.8 fetches a blob twice, for its client and for its store; manifests add up to 2 %.
    version = results.versions.get(MIRROR, "unknown")
    fetches = 2 if "registry 2." in version else 1
    note = f"{fetches} fetch{'es' if fetches > 1 else ''} and 2 % for manifests ({version})"
    for clients, link, size_mb in (
        (profile.herd_clients, "unlimited", profile.herd_mb),
        (profile.limited_clients, limited_link, profile.limited_mb),
    ):
        row = results.find("herd", system=MIRROR, link=link, clients=clients)
        name = f"{clients} clients on a cold {size_mb:g} MB image, {link}"
        upstream_ratio = None if row is None else float(row["upstream_ratio"])
        failed = None if row is None else float(clients - row["complete"])
        target(f"{name}: upstream bytes vs image size", fetches * 1.02, upstream_ratio, at_most=True, note=note)
        target(f"{name}: failed pulls", 0, failed, at_most=True, unit="")
    alone, slowest = (
        results.value("herd", "slowest_s", system=MIRROR, link=limited_link, clients=clients)
        for clients in (1, profile.limited_clients)
    )
    name = f"{profile.limited_clients} clients, {limited_link}: slowest vs one client alone"
    target(name, 1.3, ratio(slowest, alone), at_most=True)


def _pulls(results: Results) -> None:
    for link in dict.fromkeys(row["link"] for row in results.rows.get("docker", [])):
        mirror, direct = (
            results.value("docker", "median_s", path=path, link=link) for path in ("mirror, cold", "direct")
        )
        limit, note = 1.02, ""
        if link == "unlimited":
            limit, note = 1.2, "measures only the processors, which all machines share"
        name = f"docker pull, cold, {link}: time through the mirror vs direct"
        results.target(name, limit, ratio(mirror, direct), at_most=True, note=note)
    for row in results.rows.get("pulls", []):
        failed = float(row["failed"] + row["wrong"])
        clients = f"{row['clients']} client{'s' if row['clients'] > 1 else ''}"
        results.target(f"{row['pulls']} pulls by {clients}: failed pulls", 0, failed, at_most=True, unit="")


def _outages(results: Results) -> None:
    for state, name in (("killed", "upstream killed"), ("429", "upstream answers 429")):
        row = results.find("outage", system=MIRROR, upstream=state)
        failed = None if row is None or not row["pulls"] else float(row["failed"] + row["wrong"] + row["errors"])
        note = f"{row['pulls']} pulls in {row['seconds']} s" if row else ""
        results.target(f"{name}: failed pulls and requests", 0, failed, at_most=True, unit="", note=note)
    mixed = results.find("mixed") or {}
    for what, column in (
        ("responses with wrong bytes", "wrong"),
        ("failures that no killed service explains", "unexplained"),
    ):
        name, note = f"services killed in turn: {what}", mixed.get("note", "")
        results.target(name, 0, results.value("mixed", column), at_most=True, unit="", note=note)


def _groups(results: Results) -> None:
    """Only where a separate run has measured groups. A single host has nobody to take over."""
    target = results.target
    for row in results.rows.get("group herds", []):
        name = f"{_group(row['members'])}: upstream bytes of a cold image for {row['clients']} clients"
        target(name, 1.02, row["upstream_ratio"], at_most=True, note=f"{row['failed']} failed pulls")
    for members in dict.fromkeys(row["members"] for row in results.rows.get("group faults", [])):
        rows = [row for row in results.rows["group faults"] if row["members"] == members]
        failed, lost = (float(sum(row[name] for row in rows)) for name in ("failed", "lost"))
        if members > 1:
            pulls = f"{sum(row['pulls'] for row in rows)} pulls"
            target(f"{_group(members)}, all faults: failed pulls", 0, failed, at_most=True, unit="", note=pulls)
        pushes = f"{sum(row['pushes'] for row in rows)} pushes"
        name = f"{_group(members)}, all faults: acknowledged pushes that are lost"
        target(name, 0, lost, at_most=True, unit="", note=pushes)


def _group(members: int) -> str:
    return "single host with a Swift" if members == 1 else f"group of {members}"
