"""The files of `docs/ops`: rules, dashboard and configuration are valid, and name only metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from jobqueue.metrics.catalogue import CATALOGUE
from tests.docs.tables import codes, page, rows

OPS = Path(__file__).parents[2] / "docs" / "ops"
MONITORING = (OPS.parent / "how-to" / "monitoring.md").read_text()
PROMETHEUS_OWN = {"up"}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def sample_names() -> set[str]:
    """Return the names of all samples."""
    suffixes = {"gauge": ("",), "counter": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {spec.name + suffix for spec in CATALOGUE for suffix in suffixes[spec.kind]}


def rules() -> list[dict[str, str]]:
    groups = yaml.safe_load((OPS / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def named_in(text: str) -> set[str]:
    """Return the metrics that an expression names."""
    return set(re.findall(r"\b(?:jobqueue|process|python)_[a-z_]+\b", text))


def expressions_of_dashboard() -> list[str]:
    dashboard = json.loads((OPS / "grafana-dashboard.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    variables = [each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    return panels + variables


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=OPS, text=True, capture_output=True, check=False)


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml"), ("check", "config", "prometheus.yml")],
)
def test_promtool_accepts_the_files(arguments: tuple[str, ...]) -> None:
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_of_the_rules_and_the_dashboard_exists() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for expression in [rule["expr"] for rule in rules()] + expressions_of_dashboard():
        named = named_in(re.sub("|".join(sorted(recorded, key=len, reverse=True)), "", expression))
        assert named <= sample_names() | PROMETHEUS_OWN, expression
        assert named or any(name in expression for name in (*recorded, *PROMETHEUS_OWN)), expression


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = yaml.safe_load((OPS / "alerts_test.yaml").read_text())["tests"]
    cases = [case for each in tests for case in each["alert_rule_test"]]
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts


def test_the_page_explains_every_alert() -> None:
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    table = rows(MONITORING.partition("\n## Alerts\n")[2], columns=3)
    assert [codes(cells[0])[0] for cells in table] == [rule["alert"] for rule in rules() if "alert" in rule]
    assert len(alerts) == len(table)
    assert all(len(cell) > 5 for cells in table for cell in cells[1:])


def test_the_reference_lists_every_metric_with_its_kind_labels_and_help() -> None:
    tables = page("metrics.md").partition("\n## ")[2]
    on_page = {codes(cells[0])[0]: (cells[1], codes(cells[2]), cells[3]) for cells in rows(tables, columns=4)}
    assert on_page == {spec.name: (spec.kind, list(spec.labels), spec.help) for spec in CATALOGUE}


def test_the_page_names_only_metrics_that_there_are() -> None:
    assert named_in(MONITORING) <= sample_names() | {spec.name for spec in CATALOGUE}


def test_the_compose_file_mounts_files_that_are_there() -> None:
    services = yaml.safe_load((OPS / "compose.yaml").read_text())["services"]
    sources = [mount.split(":")[0] for each in services.values() for mount in each["volumes"] if mount.startswith("./")]
    assert len(sources) == 5
    assert [source for source in sources if not (OPS / source).is_file()] == []
