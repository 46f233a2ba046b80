"""monitoring/, loaded by the programs it is for: every rule holds, every expression finds its metrics on the host."""

import re
from collections.abc import Iterator

import pytest

from tests.host.metrics import metrics_text
from tests.host.prometheus import Prometheus, alerts, panels, unconditional
from tests.host.targets import LocalTarget, Target
from tests.host.waiting import wait_until_working
from tests.support.deadlines import deadline, wait_until
from tests.support.upstream import Upstream

# The name of a metric, not of a function.
_METRIC = re.compile(r"\b(up|[a-z]+(?:_[A-Za-z]+)+)(?=[\s{\[)]|$)")
ALL = {name: unconditional(expression) for name, expression in alerts().items()} | panels()
# Those about a group find nothing on a single host.
EXPRESSIONS = {name: expression for name, expression in ALL.items() if "registry_group_" not in expression}


@pytest.fixture(scope="module")
def prometheus(target: Target, quick_metrics: None) -> Iterator[Prometheus]:
    if not isinstance(target, LocalTarget):
        pytest.skip("Prometheus joins the network of the host's container, which a server of a cloud has not")
    prometheus = Prometheus(target)
    try:
        wait_until(prometheus.ready, 60, "Prometheus to scrape the host")
        yield prometheus
    finally:
        prometheus.remove()


@pytest.fixture(scope="module")
def traffic(target: Target, upstream: Upstream) -> Iterator[None]:
    """One of everything that is counted: the failures of each service, then pulls and pushes; and a backup."""
    upstream.pause()
    try:
        target.mirror().request("GET", "/v2/library/not-to-be-had/manifests/1", timeout=60)
    finally:
        upstream.unpause()

    def refused() -> str | None:
        answer = target.mirror().request("GET", "/v2/library/refused/manifests/1", timeout=60)
        return None if answer.status_code == 403 else answer.text

    upstream.limit(403)
    try:
        # The refusal has another address, and the edge keeps the one that it knows for 30 s.
        wait_until(refused, deadline(target.host, 60), "the upstream to refuse the mirror")
    finally:
        upstream.unlimit()
    upstream.push("library/monitored", "1", [1000])
    services = "docker-registry docker-registry-proxy"
    target.host.check_output(f"systemctl stop {services}")
    try:
        assert target.registry().request("GET", "/v2/").status_code == 503
        assert target.mirror().request("GET", "/v2/library/monitored/manifests/1").status_code == 503
    finally:
        target.host.check_output(f"systemctl start {services}")
    wait_until_working(target)
    for _time in range(2):
        target.mirror().pull("library/monitored", "1")
    target.registry().push("monitoring/pushed", "1", [1000])
    target.host.check_output("touch /var/lib/registry/backed-up")
    yield
    target.host.check_output("rm /var/lib/registry/backed-up")


@pytest.mark.parametrize(
    "command", ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"]
)
def test_promtool(prometheus: Prometheus, command: str) -> None:
    assert prometheus.promtool(command) == ""


def test_promtool_takes_the_metrics(prometheus: Prometheus) -> None:
    text = metrics_text(prometheus.host)
    complaints = prometheus.promtool("check metrics", text).splitlines()
    # node_exporter takes these names from /proc/meminfo.
    assert [line for line in complaints if not line.startswith("node_memory_")] == []
    assert "no help text" in prometheus.promtool("check metrics", text + "nohelp 1\n")


@pytest.mark.usefixtures("traffic")
def test_every_expression_finds_its_metrics(prometheus: Prometheus) -> None:
    """A name that is mistyped, in an alert or on the dashboard, has no samples."""
    assert len(EXPRESSIONS) > 30
    empty: list[str] = []

    def probe() -> str | None:
        empty[:] = [name for name, expression in EXPRESSIONS.items() if not prometheus.query(expression)]
        return ", ".join(empty) or None

    wait_until(probe, 60, "samples for every expression")
    assert empty == []


def test_mistyped_metric_name_finds_no_samples(prometheus: Prometheus) -> None:
    for name, expression in alerts().items():
        mistyped = _METRIC.sub(r"\1x", unconditional(expression), count=1)
        assert mistyped != unconditional(expression)
        assert prometheus.query(mistyped) == [], name
