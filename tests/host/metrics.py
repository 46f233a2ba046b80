"""What the host says of itself on port 9180, read as Prometheus reads it."""

from collections.abc import Callable, Mapping

from prometheus_client.parser import text_string_to_metric_families
from testinfra.host import Host

from tests.support.deadlines import deadline, wait_until

URL = "http://127.0.0.1:9180/metrics"
# Several rounds of /opt/registry/registry-metrics, as quick as `quick_metrics` makes them: a second each.
_DEADLINE_S = 50
_POLL_S = 1
_ROUNDS = 4


def metrics_text(host: Host) -> str:
    """The whole of it, asked for on the host itself."""
    return str(host.run_expect([0], f"curl -sSf {URL}").stdout)


def wait_until_served(host: Host) -> None:
    """Wait for the first metrics of a host that has just become ready."""

    def probe() -> str | None:
        return None if host.run(f"curl -sf {URL}").succeeded else "none yet"

    wait_for(host, probe, "metrics")


def total(host: Host, name: str, /, **labels: str) -> float:
    """The sum of the samples of that name with these labels."""
    return _sum(metrics_text(host), name, labels)


def settled(host: Host, name: str, /, **labels: str) -> float:
    """The same once everything before this call is counted.

    The edge may hold a line back for a second; the round after that takes the record, and the next one counts it.
    """
    stamp = "host_metrics_timestamp_seconds"
    rounds = {total(host, stamp)}

    def probe() -> str | None:
        rounds.add(total(host, stamp))
        return None if len(rounds) > _ROUNDS else f"{len(rounds)} rounds"

    wait_until(probe, deadline(host, _DEADLINE_S), "what was asked for to be counted", poll_s=_POLL_S)
    return total(host, name, **labels)


def _sum(text: str, name: str, labels: Mapping[str, str]) -> float:
    # The whole of it is long, and slow to parse.
    lines = "".join(f"{line}\n" for line in text.splitlines() if line.startswith(name))
    samples = (sample for family in text_string_to_metric_families(lines) for sample in family.samples)
    return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())


def wait_for(host: Host, wanted: Callable[[], str | None], what: str) -> None:
    """Wait for a probe of metrics."""

    def log() -> str:
        return str(host.run("journalctl -u registry-metrics -n 20").stdout)

    wait_until(wanted, deadline(host, _DEADLINE_S), what, log=log, poll_s=_POLL_S)
