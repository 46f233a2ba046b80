"""A real Prometheus beside the host, with monitoring/ as it is but for the address and the interval."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from docker.models.containers import Container
from testinfra.host import Host

from registry_stack.docker.archive import pack
from registry_stack.images.project import ensure_project_image
from tests.host.targets import LocalTarget

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
_FOLDER = "/etc/monitoring"
_EXAMPLE, _HERE = "registry.example.com:9180", "127.0.0.1:9180"
_INTERVAL = re.compile(r"(_interval:) \d+s")
# Between two operands, never within a selector's braces, where no space stands.
_COMPARISON = re.compile(r"\s(==|!=|<=|>=|<|>)\s")


class Prometheus:
    """It shares the host's network, so the metrics need not be published to anyone."""

    def __init__(self, target: LocalTarget) -> None:
        self.host: Host = target.host
        self.container: Container = target.engine.containers.create(
            ensure_project_image(target.engine, "prometheus"),
            network_mode=f"container:{target.machine.name}",
            labels=target.labels,
        )
        self.container.put_archive("/", pack({f"{_FOLDER}/{path.name}": (_content(path), 0o644) for path in files()}))
        self.container.start()

    def promtool(self, command: str, given: str = "") -> str:
        """What promtool says against something; empty when it exits with 0. Runs in the folder of monitoring/."""
        self.container.put_archive("/", pack({"/tmp/given": (given.encode(), 0o644)}))
        line = f"promtool {command} </tmp/given 2>&1"
        code, said = self.container.exec_run(["sh", "-c", line], workdir=_FOLDER)
        assert isinstance(said, bytes)
        return "" if code == 0 else said.decode() or f"exit status {code}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that an expression gives now."""
        said = self.host.check_output(
            "curl -sS --get --data-urlencode query=%s http://127.0.0.1:9090/api/v1/query", expression
        )
        answer = json.loads(said)
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def ready(self) -> str | None:
        """A probe: it has scraped the host twice."""
        done = self.host.run("curl -sS --get --data-urlencode query=%s http://127.0.0.1:9090/api/v1/query", _SCRAPED)
        return None if '"value"' in done.stdout else done.stdout or done.stderr

    def remove(self) -> None:
        """Stop and remove it."""
        self.container.remove(force=True, v=True)


_SCRAPED = 'count_over_time(up{job="docker-registry"}[1m]) >= 2 and up{job="docker-registry"} == 1'


def files() -> list[Path]:
    """Every file of monitoring/."""
    found = [path for path in sorted(MONITORING.iterdir()) if path.is_file()]
    assert len(found) > 3
    return found


def alerts() -> dict[str, str]:
    """The expression of every alert."""
    document = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    return {rule["alert"]: rule["expr"] for group in document["groups"] for rule in group["rules"]}


def panels() -> dict[str, str]:
    """The expression of every query of the dashboard, by panel, as Grafana would send it."""
    document = json.loads((MONITORING / "dashboard.json").read_text())
    return {
        f"{panel['title']}, {query['refId']}": _filled_in(query["expr"])
        for panel in document["panels"]
        for query in panel.get("targets", [])
    }


def unconditional(expression: str) -> str:
    """The same, giving 0 or 1 where it compares: every metric in it must have samples, or there is no answer."""
    return _COMPARISON.sub(r" \1 bool ", expression)


def _filled_in(expression: str) -> str:
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*")


def _content(path: Path) -> bytes:
    text = path.read_text()
    if path.name == "prometheus.yml":
        assert _EXAMPLE in text
        text = _INTERVAL.sub(r"\1 1s", text.replace(_EXAMPLE, _HERE))
    return text.encode()
