"""The files in docs/ for Prometheus and Grafana fit the metrics of the daemon. Debian: `apt-get install prometheus`."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harvester.domain.tasks.queue_reports import Urgency
from harvester.web.gauges import gauges
from harvester.web.metrics import Metrics
from tests.support.machine import needs_proc
from tests.support.web_builders import NOW, SeenHarvest

DOCS = Path(__file__).resolve().parents[2] / "docs"
ALERTS = (DOCS / "alerts.yml").read_text("utf-8")
ALERTS_TEST = (DOCS / "alerts_test.yml").read_text("utf-8")
METRICS_PAGE = (DOCS / "reference" / "metrics.md").read_text("utf-8")
DASHBOARD: dict[str, Any] = json.loads((DOCS / "grafana.json").read_text("utf-8"))
PAGE = Metrics().exposition(gauges(SeenHarvest(), Urgency(NOW, 1, NOW))).decode()

NAME = re.compile(r"\b(?:harvester|process)_[a-z_]+")
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: apt-get install prometheus")


def served() -> set[str]:
    """The names that can stand in an expression: a histogram's are those of its series."""
    return {line.partition("{")[0].partition(" ")[0] for line in PAGE.splitlines() if not line.startswith("#")}


def families() -> set[str]:
    """The names that a person reads about."""
    return {line.split()[2] for line in PAGE.splitlines() if line.startswith("# TYPE harvester_")}


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return panels + [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]


def promtool(*arguments: str, stdin: str = "") -> None:
    result = subprocess.run(
        [str(PROMTOOL), *arguments], input=stdin, cwd=DOCS, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_promtool_finds_nothing_to_say_about_the_metrics() -> None:
    promtool("check", "metrics", stdin=PAGE)


@needs_promtool
def test_promtool_accepts_the_alerts() -> None:
    promtool("check", "rules", "alerts.yml")


@needs_promtool
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", "alerts_test.yml")


@needs_promtool
def test_prometheus_understands_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    panels = expressions()
    for variable, value in {"$__rate_interval": "5m", "$job": "harvester", "$instance": ".*"}.items():
        panels = [expression.replace(variable, value) for expression in panels]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(panels)]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    promtool("check", "rules", str(file))


def test_every_alert_has_a_case() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS))

    assert alerts == set(re.findall(r"alertname: (\w+)", ALERTS_TEST))


@needs_proc
def test_alerts_and_dashboard_name_only_metrics_that_are_served() -> None:
    of_alerts = re.findall(r"expr: (.*?)\n +(?:for|labels):", ALERTS, re.DOTALL)
    named = {name for text in [*of_alerts, *expressions()] for name in NAME.findall(text)}

    assert named - served() == set()


def test_the_documentation_names_every_metric_and_no_other() -> None:
    named = set(NAME.findall(METRICS_PAGE))

    assert named == families()


def test_the_dashboard_shows_what_decides_whether_the_product_is_good() -> None:
    shown = {name for expression in expressions() for name in NAME.findall(expression)}

    assert {
        "harvester_tasks",
        "harvester_nearest_deadline_seconds",
        "harvester_expiring_tasks",
        "harvester_tasks_at_risk",
        "harvester_requests_total",
        "harvester_blocked_until_timestamp_seconds",
        "harvester_rate_limit_requests_per_minute",
        "harvester_ready_to_stored_seconds_bucket",
        "harvester_request_duration_seconds_bucket",
    } <= shown


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    cells = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
