"""The facts of each finding: what it is about, the problem that clients meet, since when, and its access."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest

from jobqueue.core.limits.limiter_stats import LimiterStats
from jobqueue.core.limits.quarantined_type import QuarantinedType
from jobqueue.core.schedule_counts import ScheduleFigures
from jobqueue.core.schedule_troubles import Trouble
from jobqueue.duration import spell
from jobqueue.findings import thresholds as at
from jobqueue.findings.finding import NO_REASON
from jobqueue.findings.sight import SeenQueue, SeenType
from jobqueue.findings.words import counted, per_s, percent, size, text
from jobqueue.runtime.loop_monitor import Block
from jobqueue.runtime.pools.pool_counts import PoolCounts
from jobqueue.snapshot import SpoolCounts
from tests.findings.sights import NOW, QUIET, found, receiver, settings, sight, snapshot, stats, store

if TYPE_CHECKING:
    from jobqueue.core.schedule_troubles import TroubleKind
    from jobqueue.findings.finding import Finding
    from jobqueue.findings.sight import Sight

WAITING = stats(queued=7, oldest_queued_at=NOW - 301)
STARVED = [stats("a", running=1, queued=3), stats("b", running=3, settings={"workers": 9})]
QUARANTINE = QuarantinedType(type="thumb", since=NOW - 720, until=NOW + 20, reason="timed_out", failures=50)
SERVER = ("server", None)
QUEUE = ("queue", "default")
TYPE = ("type", "thumb")
SCHEDULE = ("schedule", "nightly")
WEBHOOK = ("webhook", "crm")


def troubled(kind: TroubleKind) -> Sight:
    trouble = Trouble(schedule=("key:ann", "nightly"), kind=kind, count=3, since=NOW - 700, reason="handler_error: x")
    return sight(snapshot(schedules=ScheduleFigures(troubles=[trouble])))


def process(**changed: Any) -> Sight:
    return sight(process=msgspec.structs.replace(QUIET, **changed))


WORDS_OF_OTHERS = {
    *("type_quarantined", "config_reload_failed", "schedule_rejected", "schedule_failing"),
    *("webhook_disabled", "webhook_failing"),
}
"""Findings with the words of a handler, a file, a rejection or a receiver as their cause."""

FACTS: dict[str, tuple[Sight, tuple[str, str | None], str | None, float | None, bool]] = {
    "queue_full": (sight(snapshot(stats(queued=100))), QUEUE, "queue-full", None, True),
    "queue_nearly_full": (sight(snapshot(stats(queued=95))), QUEUE, "queue-full", None, True),
    "queue_paused": (sight(snapshot(stats(paused=True))), QUEUE, None, NOW - 60, True),
    "queue_not_draining": (
        sight(snapshot(WAITING), queues=[SeenQueue(stats=WAITING, started_at=NOW - 400)]),
        QUEUE,
        None,
        NOW - 301,
        True,
    ),
    "oldest_job": (sight(snapshot(WAITING)), QUEUE, None, NOW - 1, True),
    "workers_starved": (
        sight(snapshot(*STARVED, settings=settings(runtime={"workers": 4}))),
        ("queue", "a"),
        None,
        None,
        False,
    ),
    "rejections": (
        sight(queues=[SeenQueue(stats=stats(), started_at=NOW, refused={"spool-full": 3})]),
        QUEUE,
        "spool-full",
        None,
        False,
    ),
    "type_quarantined": (
        sight(snapshot(stats(quarantined=[QUARANTINE]))),
        TYPE,
        "type-quarantined",
        NOW - 720,
        True,
    ),
    "failure_ratio": (sight(types=[SeenType("thumb", 2000, 201)]), TYPE, None, None, False),
    "schedule_rejected": (troubled("rejected"), SCHEDULE, None, NOW - 700, False),
    "schedule_skipped": (troubled("skipped"), SCHEDULE, None, NOW - 700, False),
    "schedule_late": (troubled("late"), SCHEDULE, None, NOW - 700, False),
    "schedule_failing": (troubled("failed"), SCHEDULE, None, NOW - 700, False),
    "webhook_disabled": (
        sight(snapshot(webhooks=[receiver(disabled="crm.test answered 410: it wants no more events")])),
        WEBHOOK,
        None,
        None,
        False,
    ),
    "webhook_failing": (
        sight(snapshot(webhooks=[receiver(failures_in_a_row=3, failing_since=NOW - 60, last_error="x")])),
        WEBHOOK,
        None,
        NOW - 60,
        False,
    ),
    "webhook_dropped": (
        sight(snapshot(webhooks=[receiver()]), webhooks_dropped={"crm": 1}),
        WEBHOOK,
        None,
        None,
        False,
    ),
    "records_evicted_early": (sight(evicted_early=1), SERVER, "job-gone", None, False),
    "store_nearly_full": (sight(snapshot(store=store(live=910_000))), SERVER, "statuses-full", None, False),
    "spool_nearly_full": (
        sight(snapshot(spool=SpoolCounts(bytes_used=3900 * 2**20, errors_total=0))),
        SERVER,
        "spool-full",
        None,
        False,
    ),
    "spool_errors": (sight(spool_errors=1), SERVER, None, None, False),
    "draining": (sight(snapshot(draining=True)), SERVER, "draining", None, True),
    "started_recently": (sight(snapshot(started_at=NOW - 60)), SERVER, None, NOW - 60, False),
    "degraded": (sight(snapshot(degraded=["x"])), SERVER, None, None, False),
    "config_reload_failed": (process(config_faults=("config.yaml: x",)), SERVER, "invalid-settings", None, False),
    "restart_required": (process(restart_required=("a",)), SERVER, None, None, False),
    "loop_lag": (sight(late_counts=(0,) * 4 + (1, 1)), SERVER, "overloaded", None, False),
    "loop_blocked": (sight(blocked=1), SERVER, None, None, False),
    "processes_restart": (sight(restarts={"exited": 6}), SERVER, None, None, False),
    "threads_abandoned": (
        sight(snapshot(threads=PoolCounts(size=4, abandoned=1))),
        SERVER,
        None,
        None,
        False,
    ),
    "connections_nearly_full": (process(connections=91), SERVER, "too-many-connections", None, False),
    "long_polls_nearly_full": (sight(long_polls=9001), SERVER, "too-many-long-polls", None, False),
    "memory_nearly_full": (process(memory_bytes=99, memory_bytes_max=100), SERVER, None, None, False),
    "log_dropped": (sight(log_dropped=1), SERVER, None, None, False),
    "metrics_port_down": (
        sight(
            snapshot(settings=settings(metrics={"listen": "127.0.0.1:9091"})),
            process=msgspec.structs.replace(QUIET, metrics_listens=False),
        ),
        SERVER,
        None,
        None,
        False,
    ),
    "caller_limits": (sight(problems={"quota-exceeded": 1}), SERVER, "quota-exceeded", None, False),
    "requests_rejected": (sight(problems={"overloaded": 1}), SERVER, "overloaded", None, False),
    "internal_errors": (sight(internal_errors=1), SERVER, "internal", None, False),
}


def one(kind: str) -> Finding:
    return found(FACTS[kind][0])[kind]


@pytest.mark.parametrize("kind", FACTS)
def test_a_finding_has_its_facts(kind: str) -> None:
    finding, (_, about, problem, since, is_open) = one(kind), FACTS[kind]
    assert (finding.about, finding.name, finding.problem, finding.since, finding.is_open) == (
        *about,
        problem,
        since,
        is_open,
    )
    assert finding.open_cause == (NO_REASON if kind == "type_quarantined" else None)


@pytest.mark.parametrize("kind", FACTS)
def test_its_words_are_sentences(kind: str) -> None:
    finding = one(kind)
    given = kind in WORDS_OF_OTHERS
    for words in (finding.sentence, finding.remedy, *([] if given else [finding.cause])):
        assert re.fullmatch(r"(?:[A-Z0-9]|[a-z]+\.[a-z_]+ )(?!X).*[a-z].*(?<!X)\.", words), words
        assert not words.isupper()


def test_each_limit_is_named_by_its_kind() -> None:
    cases: list[tuple[Literal["pool", "type", "groups"], float | None, str]] = [
        ("pool", None, "a free place in the pool thumb"),
        ("type", None, "the limits of type thumb"),
        ("groups", None, "the limits by group of type thumb"),
        ("type", NOW, "type thumb, which is in quarantine"),
    ]
    for kind, shut_until, told in cases:
        limiter = LimiterStats(kind=kind, name="thumb", held=1, waiting=9, permits=1, shut_until=shut_until)
        of = found(sight(snapshot(stats(queued=100), limiters=[limiter])))["queue_full"]
        assert of.cause == f"Most wait for {told} (9 jobs of all queues)."


def test_a_full_queue_drains_or_not() -> None:
    for rate, cause in ((0.5, "Jobs come faster than they end."), (0.0, "Its jobs don't end: handlers may hang.")):
        assert found(sight(snapshot(stats(queued=100, drain_rate_per_s=rate))))["queue_full"].cause == cause


def test_a_probe_that_is_due_comes_next() -> None:
    due = msgspec.structs.replace(QUARANTINE, until=NOW, failures=1)
    told = found(sight(snapshot(stats(quarantined=[due]))))["type_quarantined"].sentence
    assert told == (
        "Type thumb has been in quarantine for 12 min, after 1 failure in a row: its jobs wait; its next job to start "
        "is the probe."
    )


def test_a_restart_names_five_settings_and_the_number_of_others() -> None:
    for names, told in (("ab", "a, b."), ("abcde", "a, b, c, d, e."), ("abcdef", "a, b, c, d, e and 1 more.")):
        assert found(process(restart_required=tuple(names)))["restart_required"].sentence.endswith(f": {told}")


def test_a_reload_with_one_fault_has_no_others() -> None:
    assert found(process(config_faults=("x",)))["config_reload_failed"].cause == "x"
    assert found(process(config_faults=("x", "y")))["config_reload_failed"].cause == "x (1 more in the log)"


def test_a_block_without_a_place_tells_its_time() -> None:
    told = found(sight(blocked=2, process=msgspec.structs.replace(QUIET, block=Block(1.2, ""))))["loop_blocked"]
    assert told.sentence.endswith("in the last 10 min, the last time for 1.2 s.")


def test_numbers_have_their_units() -> None:
    assert [percent(share) for share in (0.0, 0.004, 0.0099, 0.01, 0.999, 0.29, 1.0)] == [
        *("0 %", "0.4 %", "1.0 %", "1 %", "99 %", "29 %", "100 %"),
    ]
    assert [counted(count, "job") for count in (0, 1, 2, 1200)] == ["0 jobs", "1 job", "2 jobs", "1,200 jobs"]
    assert [per_s(rate) for rate in (1200, 9.95, 9.94, 0.0995, 0.099, 1 / 60, 0.016)] == [
        *("1,200/s", "10/s", "9.9/s", "0.1/s", "6/min", "1/min", "58/h"),
    ]
    assert [size(count) for count in (0, 1023, 1024, 10 * 1024, 2**20, 2**30, 5000 * 2**30)] == [
        *("0 bytes", "1,023 bytes", "1.0 KiB", "10 KiB", "1.0 MiB", "1.0 GiB", "5,000 GiB"),
    ]
    assert text("x" * 200) == "x" * 200
    assert text("x" * 201) == "x" * 199 + "…"
    assert text("a\nb") == "a\\nb"


def test_rejected_requests_have_their_rate() -> None:
    told = found(sight(problems={"quota-exceeded": 600, "overloaded": 6}))
    assert told["caller_limits"].sentence == (
        "600 requests exceeded a limit of their callers in the last minute (10/s)."
    )
    assert told["requests_rejected"].sentence == (
        "The server has rejected 6 requests in the last minute (0.1/s): the event loop is late, or memory is short."
    )


def test_a_bound_that_is_just_reached_is_none_yet() -> None:
    assert found(sight(restarts={"exited": at.RESTARTS})) == {}
    assert found(process(connections=90)) == {}
    assert found(process(memory_bytes=90, memory_bytes_max=100)) == {}
    assert found(sight(long_polls=9000)) == {}
    most = 900_000
    assert found(sight(snapshot(store=store(live=most)))) == {}
    assert found(sight(snapshot(store=store(live=most, terminal=1))))["store_nearly_full"].severity == "critical"
    assert found(sight(snapshot(store=store(live=most - 1, terminal=2))))["store_nearly_full"].severity == "warning"


def test_a_start_is_found_from_the_first_moment_on_and_for_a_while() -> None:
    for age_s, told in ((0.0, True), (at.STARTED_WINDOW_S - 1, True), (at.STARTED_WINDOW_S, False), (-1.0, False)):
        assert ("started_recently" in found(sight(snapshot(started_at=NOW - age_s)))) is told, age_s


def test_a_fork_server_that_dies_differs_from_processes_that_exit() -> None:
    for reason, cause in (
        ("exited", "They are killed (memory), crash, or exit."),
        ("lost", "The fork server died."),
    ):
        assert found(sight(restarts={reason: at.RESTARTS + 1}))["processes_restart"].cause == cause
    assert found(sight(restarts={"stopped": 99})) == {}


def test_the_store_tells_the_bound_that_is_nearer() -> None:
    mib = 2**20
    told = found(sight(snapshot(store=store(live=950_000, bytes_used=250 * mib))))["store_nearly_full"]
    assert told.sentence == "The job store is 97 % full: 250 MiB of 256 MiB (statuses.bytes_max)."
    assert told.cause == "Live jobs take it."
    told = found(sight(snapshot(store=store(terminal=990_000, bytes_used=250 * mib))))["store_nearly_full"]
    assert told.sentence == "The job store is 99 % full: 990,000 of 1,000,000 records (statuses.jobs_max)."
    assert told.cause == "Terminal records stay for their TTL."


def test_totals_have_their_windows() -> None:
    told = found(sight(evicted_early=2, internal_errors=2, log_dropped=2))
    assert told["records_evicted_early"].sentence.startswith(
        f"Bounds have evicted 2 records before the TTL in the last {spell(at.EVICTED_WINDOW_S)}:"
    )
    assert told["internal_errors"].sentence == (
        f"2 requests failed with an internal error in the last {spell(at.ERRORS_WINDOW_S)}."
    )
    assert told["log_dropped"].sentence == f"The log has dropped 2 lines in the last {spell(at.LOG_DROPPED_WINDOW_S)}."
