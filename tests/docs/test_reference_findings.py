"""The reference page of findings: exactly the kinds of the code; and the alerts with their thresholds."""

from __future__ import annotations

import ast
import re
import typing
from pathlib import Path

import pytest

from jobqueue import findings
from jobqueue.findings import thresholds as at
from jobqueue.findings.finding import SEVERITIES, Severity
from jobqueue.http.response.explanations import EXPLANATIONS
from jobqueue.http.response.problems import INTERNAL, TABLE
from tests.docs.tables import codes, page, rows
from tests.ops.test_ops_files import rules

FOLDER = Path(findings.__file__).parent
ON_PAGE = rows(page("findings.md"), columns=5)
NUMBERS = {
    "JobqueueQueueFull": ([at.QUEUE_FILL], []),
    "JobqueueNotDraining": ([], [at.NOT_DRAINING_S]),
    "JobqueueOldestJob": ([at.OLDEST_JOB_S], []),
    "JobqueuePausedForLong": ([], [at.PAUSED_LONG_S]),
    "JobqueueFailureRatio": ([at.FAILURE_RATIO], [at.FAILURE_WINDOW_S]),
    "JobqueueTypeQuarantined": ([], []),
    "JobqueueRecordsEvictedEarly": ([], [at.EVICTED_WINDOW_S]),
    "JobqueueSpoolFull": ([at.SPOOL_FILL], []),
    "JobqueueJournalFailed": ([], []),
    "JobqueueJournalSlow": ([at.COMMIT_S], [at.COMMITS_WINDOW_S]),
    "JobqueueJournalFull": ([at.JOURNAL_FILL], []),
    "JobqueueStoreDown": ([], []),
    "JobqueueStoreSlow": ([at.CALL_S], [at.CALLS_WINDOW_S]),
    "JobqueueStoreServerMissing": ([], []),
    "JobqueueStoreUnsteady": ([at.RECONNECTS], [at.RECONNECTS_WINDOW_S]),
    "JobqueueScheduleTroubled": ([], []),
    "JobqueueWebhookDisabled": ([], []),
    "JobqueueWebhookFailing": ([at.WEBHOOK_FAILURES], []),
    "JobqueueWebhookDropped": ([], [at.WEBHOOK_DROPPED_WINDOW_S]),
    "JobqueueLoopLag": ([at.LOOP_LAG_S], [at.LOOP_LAG_WINDOW_S]),
    "JobqueueLoopBlocked": ([], [at.LOOP_BLOCKED_WINDOW_S]),
    "JobqueueProcessesRestart": ([at.RESTARTS], [at.RESTARTS_WINDOW_S]),
    "JobqueueRestartLoop": ([], [at.STARTED_WINDOW_S]),
    "JobqueueConnectionsFull": ([at.CONNECTIONS_FILL], []),
    "JobqueueReloadFailed": ([], []),
    "JobqueueLogDropped": ([], [at.LOG_DROPPED_WINDOW_S]),
}
"""Of each alert: what its value is compared with, and the times that it looks back, or must hold."""

WITHOUT = {"JobqueueDown"}
SECONDS = {"s": 1, "m": 60, "h": 3600}


def made_in(folder: Path) -> dict[str, dict[str, ast.expr]]:
    """Return the arguments of each finding that the rules make, by kind."""
    made: dict[str, dict[str, ast.expr]] = {}
    for file in folder.glob("*_rules.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding":
                given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
                for kind in words_in(given["kind"]):
                    made[kind] = given
    return made


def words_in(expression: ast.expr) -> set[str]:
    """Return the texts that an expression may be: of a choice all of them, but for those of its condition."""
    if isinstance(expression, ast.IfExp):
        return words_in(expression.body) | words_in(expression.orelse)
    return {expression.value} if isinstance(expression, ast.Constant) and isinstance(expression.value, str) else set()


MADE = made_in(FOLDER)


def test_the_page_has_every_kind_with_its_severities_and_keys() -> None:
    on_page = {codes(cells[0])[0]: cells for cells in ON_PAGE}
    assert set(on_page) == set(MADE)
    for kind, cells in on_page.items():
        severities = words_in(MADE[kind]["severity"])
        own = {"queue_full": {"critical"}, "queue_nearly_full": {"warning"}}
        own |= {"oldest_job": {"warning"}, "wait_beyond_patience": {"info"}}
        assert set(codes(cells[1])) == own.get(kind, severities)
        assert cells[3] == ("any" if "is_open" in MADE[kind] else "all jobs"), kind
    assert typing.get_args(Severity) == SEVERITIES


def test_every_alert_has_a_finding_and_the_page_names_it() -> None:
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {alert for cells in ON_PAGE for alert in codes(cells[4])} == alerts - WITHOUT
    assert set(NUMBERS) == alerts - WITHOUT


@pytest.mark.parametrize("rule", [rule for rule in rules() if rule.get("alert") in NUMBERS], ids=lambda r: r["alert"])
def test_an_alert_has_the_thresholds_of_its_finding(rule: dict[str, str]) -> None:
    bounds, times = NUMBERS[rule["alert"]]
    expression = rule["expr"]
    compared = [float(number) for number in re.findall(r"> ([\d.]+)", expression)]
    own = [number for number in compared if not (number == 0 or rule["alert"] == "JobqueueRestartLoop")]
    assert own == bounds
    looked_back = re.findall(r"\[(\d+)([smh])\]", expression) + re.findall(r"ratio(\d+)([smh])", expression)
    found = {int(count) * SECONDS[unit] for count, unit in looked_back}
    if not found and times:
        found = {int(rule["for"][:-1]) * SECONDS[rule["for"][-1]]}
    assert found == set(times)
    if rule["alert"] == "JobqueueLoopLag":
        assert f"histogram_quantile({at.LOOP_LAG_QUANTILE}, " in expression
    if rule["alert"] == "JobqueueJournalSlow":
        assert f"histogram_quantile({at.COMMIT_QUANTILE}, " in expression
    if rule["alert"] == "JobqueueStoreSlow":
        assert f"histogram_quantile({at.CALL_QUANTILE}, " in expression


def test_every_problem_of_a_finding_is_one_that_the_server_explains() -> None:
    slugs = {row.slug for row in (*TABLE.values(), INTERNAL)}
    named = {slug for given in MADE.values() if "problem" in given for slug in words_in(given["problem"])}
    assert named
    assert named <= slugs
    assert {slug for slug in named if slug not in EXPLANATIONS} == set()
