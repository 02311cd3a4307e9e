"""The rules of findings: what is told at which figures, in which words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jobqueue.backend.store import MissingServer
from jobqueue.core.limits.limiter_stats import LimiterStats
from jobqueue.core.limits.quarantined_type import QuarantinedType
from jobqueue.core.pause import Pause
from jobqueue.findings.finding import Finding
from jobqueue.findings.quantile import quantile_s
from jobqueue.findings.queue_rules import REJECTED_BECAUSE
from jobqueue.findings.rules import derive, ordered
from jobqueue.findings.sight import SeenQueue, SeenType
from jobqueue.findings.watch import REJECTIONS
from jobqueue.http.response.problems import TABLE
from jobqueue.runtime.loop_monitor import Block
from jobqueue.runtime.pools.pool_counts import PoolCounts
from jobqueue.snapshot import SpoolCounts
from tests import store_figures
from tests.findings.sights import NOW, QUIET, found, settings, sight, snapshot, stats, store
from tests.journal_figures import FIGURES, figures


def test_nothing_is_wrong_with_a_quiet_server() -> None:
    assert found(sight()) == {}
    assert found(sight(process=None)) == {}


@pytest.mark.parametrize(
    ("queued", "kind", "severity"),
    [
        (90, None, None),
        (91, "queue_nearly_full", "warning"),
        (100, "queue_full", "critical"),
        (130, "queue_full", "critical"),
    ],
)
def test_few_free_slots_of_a_queue_are_a_finding(queued: int, kind: str | None, severity: str | None) -> None:
    told = found(sight(snapshot(stats(queued=queued, drain_rate_per_s=2.0))))
    assert [*told] == ([] if kind is None else [kind])
    for finding in told.values():
        assert (finding.severity, finding.about, finding.name, finding.problem) == (
            severity,
            "queue",
            "default",
            "queue-full",
        )


def test_a_full_queue_says_when_it_drains_and_why_it_is_full() -> None:
    finding = found(sight(snapshot(stats(queued=93, drain_rate_per_s=0.4))))["queue_nearly_full"]
    assert finding.sentence == "Queue default is 93 % full: 93 of 100 jobs; it drains in 3 min 52 s at 0.4/s."
    assert finding.cause == "Jobs come faster than they end."
    stuck = found(sight(snapshot(stats(queued=98, running=2))))["queue_full"]
    assert stuck.sentence == "Queue default is full: 100 of 100 jobs; no job has ended of late."
    assert stuck.cause == "All 2 of its workers are busy."
    paused = found(sight(snapshot(stats(queued=100, paused=True))))["queue_full"]
    assert (paused.cause, paused.remedy) == ("It is paused, so none of its jobs starts.", "Resume it.")


def test_the_cause_names_the_limit_at_which_most_jobs_wait() -> None:
    limiters = [
        LimiterStats(kind="pool", name="process", held=2, waiting=5, permits=2),
        LimiterStats(kind="type", name="thumb", held=4, waiting=80, permits=4),
    ]
    finding = found(sight(snapshot(stats(queued=100), limiters=limiters)))["queue_full"]
    assert finding.cause == "Most wait for the limits of type thumb (80 jobs of all queues)."


def test_a_paused_queue_is_a_warning_once_jobs_wait_or_after_an_hour() -> None:
    assert found(sight(snapshot(stats(paused=True))))["queue_paused"].severity == "info"
    finding = found(sight(snapshot(stats(paused=True, queued=1))))["queue_paused"]
    assert (finding.severity, finding.since) == ("warning", NOW - 60)
    assert finding.sentence == "Queue default has been paused for 1 min: 1 job waits."
    assert finding.cause == "It was paused without a reason."
    for paused_s, severity in ((3600, "info"), (3601, "warning")):
        long = stats(paused=True, pause=Pause(since=NOW - paused_s))
        assert found(sight(snapshot(long)))["queue_paused"].severity == severity


def test_a_pause_tells_its_reason_and_its_end_but_no_caller() -> None:
    pause = Pause(since=NOW - 60, reason="deploy \u202e" + "x" * 500, until=NOW + 540, by="key:ops")
    finding = found(sight(snapshot(stats(paused=True, pause=pause))))["queue_paused"]
    assert finding.sentence == "Queue default has been paused for 1 min: 0 jobs wait; it resumes by itself in 9 min."
    assert finding.cause.startswith("The reason given: deploy \\u202ex")
    assert len(finding.cause) < 300
    assert "ops" not in str(finding)


@pytest.mark.parametrize(
    ("started_at", "oldest_at", "told"),
    [(NOW - 301, NOW - 301, True), (NOW - 299, NOW - 5000, False), (NOW - 5000, NOW - 299, False)],
)
def test_a_queue_does_not_drain_once_none_of_its_waiting_jobs_has_started_for_five_minutes(
    started_at: float, oldest_at: float, told: bool
) -> None:
    counts = stats(queued=7, oldest_queued_at=oldest_at)
    kinds = found(sight(snapshot(counts), queues=[SeenQueue(stats=counts, started_at=started_at)]))
    assert ("queue_not_draining" in kinds) is told
    if told:
        assert kinds["queue_not_draining"].since == max(started_at, oldest_at)
    paused = stats(queued=7, oldest_queued_at=oldest_at, paused=True)
    of_paused = found(sight(snapshot(paused), queues=[SeenQueue(stats=paused, started_at=started_at)]))
    assert [*of_paused] == ["queue_paused"]


@pytest.mark.parametrize(
    ("patience_s", "wait_s", "kind"),
    [
        (30.0, 30.0, None),
        (30.0, 31.0, "wait_beyond_patience"),
        (30.0, 301.0, "oldest_job"),
        (3600.0, 300.0, None),
        (3600.0, 301.0, "oldest_job"),
    ],
)
def test_the_oldest_job_is_a_finding_beyond_patience_and_after_five_minutes(
    patience_s: float, wait_s: float, kind: str | None
) -> None:
    counts = stats(queued=1, oldest_queued_at=NOW - wait_s, settings={"patience_s": patience_s})
    told = found(sight(snapshot(counts)))
    assert [*told] == ([] if kind is None else [kind])
    if kind is not None:
        assert told[kind].since == NOW - wait_s + (300.0 if kind == "oldest_job" else patience_s)


def test_a_queue_with_free_workers_is_starved_by_the_workers_of_all() -> None:
    few = settings(runtime={"workers": 4})
    queues = [stats("a", running=1, queued=3), stats("b", running=3, settings={"workers": 9})]
    told = found(sight(snapshot(*queues, settings=few)))
    assert (told["workers_starved"].name, told["workers_starved"].severity) == ("a", "info")
    assert found(sight(snapshot(*queues))) == {}


def test_each_reason_of_rejections_is_a_finding_of_its_own() -> None:
    queue = SeenQueue(stats=stats(), started_at=NOW, refused={"queue-full": 1200, "spool-full": 0, "statuses-full": 1})
    told = [finding for step in derive(sight(queues=[queue])) for finding in step]
    assert [(finding.kind, finding.problem) for finding in told] == [
        ("rejections", "queue-full"),
        ("rejections", "statuses-full"),
    ]
    assert told[0].sentence == (
        "Queue default has rejected 1,200 submissions in the last minute (20/s): the queue is full."
    )
    assert told[0].key != told[1].key
    assert {TABLE[kind].slug for kind in REJECTIONS} == set(REJECTIONS.values()) == set(REJECTED_BECAUSE)


def test_a_type_in_quarantine_hides_its_last_failure_from_keys_that_do_not_see_all_jobs() -> None:
    reason = "handler_error: TimeoutError: " + "\x1b[31m" + "x" * 1000
    quarantine = QuarantinedType(type="thumb", since=NOW - 720, until=NOW + 20, reason=reason, failures=50)
    finding = found(sight(snapshot(stats(quarantined=[quarantine]))))["type_quarantined"]
    assert finding.sentence == (
        "Type thumb has been in quarantine for 12 min, after 50 failures in a row: its jobs wait; its next probe may "
        "start in 20 s."
    )
    assert finding.since == NOW - 720
    assert "TimeoutError: \\x1b[31mx" in finding.cause
    assert len(finding.cause) < 400
    assert finding.open_cause is not None
    assert "TimeoutError" not in finding.open_cause


@pytest.mark.parametrize(
    ("attempts", "failed", "told"), [(9, 9, False), (10, 1, False), (10, 2, True), (2000, 201, True)]
)
def test_a_type_with_over_a_tenth_of_enough_attempts_failed_is_a_finding(
    attempts: int, failed: int, told: bool
) -> None:
    kinds = found(sight(types=[SeenType("thumb", attempts, failed)]))
    assert ("failure_ratio" in kinds) is told
    if failed == 201:
        assert kinds["failure_ratio"].sentence == (
            "10 % of the attempts of type thumb fail: 201 of 2,000 attempts in the last 10 min."
        )


MIB = 2**20


@pytest.mark.parametrize(
    ("changed", "kind", "severity", "words"),
    [
        ({"evicted_early": 12}, "records_evicted_early", "warning", "Bounds have evicted 12 records before the TTL"),
        ({"spool_errors": 1}, "spool_errors", "warning", "could not write or remove 1 file"),
        ({"blocked": 3}, "loop_blocked", "warning", "was blocked 3 times in the last 10 min."),
        ({"log_dropped": 1000}, "log_dropped", "warning", "has dropped 1,000 lines in the last 5 min."),
        ({"restarts": {"exited": 6, "stopped": 99}}, "processes_restart", "warning", "6 processes of handlers"),
        ({"problems": {"quota-exceeded": 600}}, "caller_limits", "info", "600 requests exceeded a limit"),
        (
            {"problems": {"overloaded": 60}},
            "requests_rejected",
            "warning",
            "has rejected 60 requests in the last minute",
        ),
        ({"internal_errors": 1}, "internal_errors", "critical", "1 request failed with an internal error"),
        ({"long_polls": 9001}, "long_polls_nearly_full", "warning", "9,001 of 10,000 long polls"),
        ({"late_counts": (0,) * 4 + (1, 1)}, "loop_lag", "warning", "over 0.4 s late for a tenth"),
    ],
)
def test_totals_of_a_window_are_findings(changed: dict[str, Any], kind: str, severity: str, words: str) -> None:
    told = found(sight(**changed))
    assert [*told] == [kind]
    assert told[kind].severity == severity
    assert words in told[kind].sentence
    assert (told[kind].about, told[kind].name, told[kind].is_open) == ("server", None, False)


@pytest.mark.parametrize(
    ("changed", "kind", "severity", "words"),
    [
        ({"draining": True, "store": store(live=3)}, "draining", "info", "3 live jobs may run on for 20 s"),
        ({"started_at": NOW - 60}, "started_recently", "info", "started 1 min ago"),
        ({"degraded": ["handlers in processes can't run: gone"]}, "degraded", "critical", "can't run: gone"),
        ({"store": store(live=910_000)}, "store_nearly_full", "critical", "91 % full: 910,000 of 1,000,000 records"),
        ({"store": store(terminal=910_000)}, "store_nearly_full", "warning", "91 % full: 910,000"),
        ({"store": store(bytes_used=250 * MIB)}, "store_nearly_full", "warning", "97 % full: 250 MiB of 256 MiB"),
        ({"spool": SpoolCounts(bytes_used=3900 * MIB, errors_total=0)}, "spool_nearly_full", "warning", "95 % full"),
        ({"spool": SpoolCounts(bytes_used=4096 * MIB, errors_total=0)}, "spool_nearly_full", "critical", "100 % full"),
        ({"threads": PoolCounts(size=4, abandoned=1)}, "threads_abandoned", "warning", "run on in 1 thread."),
        ({"threads": PoolCounts(size=4, abandoned=4)}, "threads_abandoned", "critical", "run on in 4 threads."),
    ],
)
def test_states_of_the_server_are_findings(changed: dict[str, Any], kind: str, severity: str, words: str) -> None:
    told = found(sight(snapshot(**changed)))
    assert [*told] == [kind]
    assert told[kind].severity == severity
    assert words in told[kind].sentence


@pytest.mark.parametrize(
    ("changed", "kind", "severity", "words"),
    [
        ({"connections": 91}, "connections_nearly_full", "warning", "91 % of the connections are taken: 91 of 100."),
        ({"connections": 100}, "connections_nearly_full", "critical", "100 %"),
        (
            {"restart_required": tuple("abcdefg")},
            "restart_required",
            "info",
            "7 changed settings: a, b, c, d, e and 2 more.",
        ),
        ({"memory_bytes": 231 * MIB, "memory_bytes_max": 256 * MIB}, "memory_nearly_full", "critical", "90 % of its"),
        ({"config_faults": ("config.yaml:1:1: x", "b")}, "config_reload_failed", "warning", "the earlier ones"),
    ],
)
def test_counts_of_the_process_are_findings(changed: dict[str, Any], kind: str, severity: str, words: str) -> None:
    process = msgspec.structs.replace(QUIET, **changed)
    told = found(sight(process=process))
    assert [*told] == [kind]
    assert told[kind].severity == severity
    assert words in told[kind].sentence


def test_a_failed_reload_tells_its_first_fault_and_the_number_of_others() -> None:
    process = msgspec.structs.replace(QUIET, config_faults=("config.yaml:1:1: unknown setting 'x'", "b", "c"))
    finding = found(sight(process=process))["config_reload_failed"]
    assert finding.cause == "config.yaml:1:1: unknown setting 'x' (2 more in the log)"


def test_a_blocked_loop_names_the_line_that_blocks() -> None:
    process = msgspec.structs.replace(QUIET, block=Block(1.2, "tasks.py:41 in resize"))
    finding = found(sight(process=process, blocked=1))["loop_blocked"]
    assert finding.sentence == (
        "The event loop was blocked 1 time in the last 10 min, the last time for 1.2 s in tasks.py:41 in resize."
    )


def test_a_closed_port_of_the_metrics_is_a_finding_if_they_have_one() -> None:
    process = msgspec.structs.replace(QUIET, metrics_listens=False)
    assert found(sight(process=process)) == {}
    own = settings(metrics={"listen": "127.0.0.1:9091"})
    assert [*found(sight(snapshot(settings=own), process=process))] == ["metrics_port_down"]
    assert found(sight(snapshot(settings=own))) == {}


def test_lateness_is_estimated_as_prometheus_does() -> None:
    assert quantile_s((), 0.9) == 0.0
    assert quantile_s((100,) + (0,) * 13, 0.9) == pytest.approx(0.0009)
    assert quantile_s((0,) * 4 + (10, 10) + (0,) * 8, 0.9) == pytest.approx(0.1 + 0.4 * 0.8)
    assert quantile_s((0,) * 13 + (5,), 0.9) == 3600.0


def test_a_journal_in_order_is_no_finding() -> None:
    assert found(sight(snapshot(journal=FIGURES), commit_counts=(95, 5, *[0] * 12))) == {}


@pytest.mark.parametrize(
    ("state", "problem", "words"),
    [
        ("failed", "journal-failed", "Mend the disk"),
        ("full", "journal-full", "journal.bytes_max"),
        ("stalled", "journal-failed", "over 10 s"),
    ],
)
def test_a_journal_that_keeps_nothing_is_critical_and_tells_the_reason(state: str, problem: str, words: str) -> None:
    failed = snapshot(journal=figures(state=state, reason="Input/output error"))
    finding = found(sight(failed))["journal_failed"]
    assert (finding.severity, finding.cause, finding.problem) == ("critical", "Input/output error", problem)
    assert finding.sentence == f"The journal can't keep jobs ({state}): submissions are rejected."
    assert words in finding.remedy


@pytest.mark.parametrize(
    ("sync", "words"),
    [("always", "each 202 waits for one"), ("interval", "a power cut loses what waits for one")],
)
def test_slow_commits_are_a_finding_if_a_tenth_of_them_takes_over_a_tenth_of_a_second(sync: str, words: str) -> None:
    slow = snapshot(journal=figures(sync=sync))
    assert found(sight(slow, commit_counts=(90, 0, 0, 0, 0, 10, *[0] * 8))) == {}
    finding = found(sight(slow, commit_counts=(89, 0, 0, 0, 0, 11, *[0] * 8)))["journal_slow"]
    assert finding.severity == "warning"
    assert finding.sentence.endswith(f"took over 0.1 s: {words}.")


@pytest.mark.parametrize(("used", "severity"), [(90, None), (91, "warning"), (100, "critical"), (130, "critical")])
def test_a_journal_near_its_bound_is_a_finding(used: int, severity: str | None) -> None:
    told = found(sight(snapshot(journal=figures(bytes_used=used, bytes_max=100))))
    assert [finding.severity for finding in told.values()] == ([] if severity is None else [severity])
    assert [*told] == ([] if severity is None else ["journal_nearly_full"])


def test_a_store_in_order_is_no_finding() -> None:
    of = snapshot(shared_store=store_figures.FIGURES)
    assert found(sight(of, call_counts=(95, 5, *[0] * 12), reconnects=5)) == {}


def test_a_store_that_does_not_answer_is_critical_and_has_the_reason() -> None:
    of = store_figures.figures(up=False, reason="connection refused", since=NOW - 90)
    finding = found(sight(snapshot(shared_store=of)))["store_down"]
    assert (finding.severity, finding.cause, finding.since) == ("critical", "connection refused", NOW - 90)
    assert "valkey://store:6379/0" in finding.remedy


def test_slow_calls_are_a_finding_if_a_tenth_of_them_takes_over_a_tenth_of_a_second() -> None:
    of = snapshot(shared_store=store_figures.FIGURES)
    assert found(sight(of, call_counts=(90, 0, 0, 0, 0, 10, *[0] * 8))) == {}
    finding = found(sight(of, call_counts=(89, 0, 0, 0, 0, 11, *[0] * 8)))["store_slow"]
    assert finding.severity == "warning"
    assert "took over 0.1 s" in finding.sentence


def test_many_connections_to_the_store_within_a_short_time_are_a_finding() -> None:
    finding = found(sight(snapshot(shared_store=store_figures.FIGURES), reconnects=6))["store_unsteady"]
    assert finding.sentence == "The server has connected 6 times to the store within 15 min."


def test_a_lost_server_of_the_store_is_a_finding_with_its_name_and_the_jobs_that_it_ran() -> None:
    lost = MissingServer(name="box-7:4711", heard_at=NOW - 60, jobs=12)
    finding = found(sight(snapshot(shared_store=store_figures.figures(servers=2, missing=(lost,)))))["server_missing"]
    assert finding.sentence == "1 server of the store is lost: box-7:4711; 2 servers go on."
    assert (finding.severity, finding.since) == ("warning", NOW - 60)
    assert "12 jobs that ran there went to the others" in finding.cause
    many = tuple(MissingServer(name=f"box:{pid}\n", heard_at=NOW - pid, jobs=0) for pid in range(6))
    finding = found(sight(snapshot(shared_store=store_figures.figures(servers=1, missing=many))))["server_missing"]
    names = ", ".join(f"box:{pid}\\n" for pid in range(5))
    assert finding.sentence == f"6 servers of the store are lost: {names}, …; 1 server goes on."
    assert finding.since == NOW - 5
    assert finding.cause.endswith("No job ran there.")


def test_with_a_store_a_start_and_a_drain_lose_nothing() -> None:
    of = snapshot(shared_store=store_figures.FIGURES, started_at=NOW - 60, draining=True)
    told = found(sight(of, process=msgspec.structs.replace(QUIET, restart_required=("a",))))
    assert "went on meanwhile on other servers" in told["started_recently"].sentence
    assert told["draining"].remedy == "Start it again: what is not done by then is kept."
    assert told["draining"].sentence == "The server drains: what it runs may run on for 20 s at most."
    assert told["restart_required"].remedy == "Restart the server, or set them back."


def test_with_a_journal_a_start_and_a_drain_lose_nothing() -> None:
    of = snapshot(journal=FIGURES, started_at=NOW - 60, draining=True)
    told = found(sight(of, process=msgspec.structs.replace(QUIET, restart_required=("a",))))
    assert (
        told["started_recently"].sentence == "The server started 1 min ago: the journal had 15 jobs of an earlier run."
    )
    assert told["draining"].remedy == "Start it again: what is not done by then is kept."
    assert told["restart_required"].remedy == "Restart the server, or set them back."


def test_the_worst_findings_come_first_and_then_the_oldest() -> None:
    def one(kind: str, severity: Any, since: float) -> Finding:
        return Finding(kind=kind, severity=severity, sentence="", cause="", remedy="", since=since)

    many = [one("a", "info", 1.0), one("b", "critical", 9.0), one("c", "critical", 3.0), one("d", "warning", 2.0)]
    assert [finding.kind for finding in ordered(many)] == ["c", "b", "d", "a"]
