"""monitoring/: Grafana's own model takes the dashboard, and every alert is tested firing and quiet."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

MONITORING = Path(__file__).parents[2] / "monitoring"


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    return document


def as_grafana_has_it(document: dict[str, Any]) -> dict[str, Any]:
    """Read into Grafana's types and written again: what they do not know is lost."""
    register_default_plugins()
    text = JSONEncoder(sort_keys=True).encode(Dashboard.from_json(document))
    again: dict[str, Any] = json.loads(text)
    return again


def test_grafana_knows_every_field(dashboard: dict[str, Any]) -> None:
    assert as_grafana_has_it(dashboard) == dashboard


def test_a_field_that_grafana_does_not_know_is_seen(dashboard: dict[str, Any]) -> None:
    broken = json.loads(json.dumps(dashboard))
    panel = next(panel for panel in broken["panels"] if panel["type"] == "timeseries")
    panel["fieldConfig"]["defaults"]["unti"] = "s"
    assert as_grafana_has_it(broken) != broken


def test_no_panel_lies_over_another(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert cells, panel["title"]
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def test_every_alert_is_tested_firing_and_quiet() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    names = [rule["alert"] for group in rules for rule in group["rules"]]
    cases = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    tested = [(case["alertname"], bool(case["exp_alerts"])) for test in cases for case in test["alert_rule_test"]]
    assert names
    assert len(set(names)) == len(names)
    assert set(tested) == {(name, fires) for name in names for fires in (True, False)}
