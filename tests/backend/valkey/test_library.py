"""The functions of the store, each called as the backend calls it: replies, codes, resends, and the audit after all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.backend.valkey import library
from tests.backend.valkey.function_client import SECRET, TTL_MS, Client, spec
from tests.backend.valkey.stored import stored
from tests.stores import client_of

if TYPE_CHECKING:
    from bench.store import Store

# Text


def test_the_text_names_its_version_and_all_functions() -> None:
    text = library.text()
    assert text.startswith("#!lua name=jobqueue1\n")
    for name, function in library.FUNCTIONS.items():
        flag = "'no-writes'" if function.no_writes else "'allow-oom'" if function.allow_oom else ""
        row = f"function_name = 'jq1_{name}', callback = api.{name}, flags = {{ {flag} }}"
        assert row in text


def test_the_library_for_users_has_neither_the_clock_of_tests_nor_the_audit() -> None:
    text = library.text()
    assert "test_now_ms" not in text
    assert "'KEYS'" not in text
    assert "'SCAN'" not in text


def test_a_script_has_the_flags_of_its_function() -> None:
    assert library.script("look").startswith("#!lua flags=no-writes\n")
    assert library.script("ack").startswith("#!lua flags=allow-oom\n")
    assert library.script("submit").startswith("#!lua\n")


def test_the_same_bodies_run_as_scripts(store: Store) -> None:
    client = Client(client_of(store), scripts=True)
    client.call("join", "p1", TTL_MS, "server", SECRET, "", 0)
    client.set_queue()
    assert client.submit("a") == [1]
    assert client.lease() == [("a", 1)]
    assert client.ack("a") == (1, "s")
    assert client.audit() == []
    client.client.close()


def test_two_versions_live_side_by_side(store: Store) -> None:
    client = client_of(store)
    client.function_load(library.text())
    client.function_load(library.text(test=True))
    assert len(client.function_list()) == 2
    client.close()


# A life


def test_a_job_is_submitted_leased_and_acknowledged(jq: Client) -> None:
    assert jq.submit("a", "b") == [1, 1]
    assert jq.state("a") == "q"
    assert jq.record("b")["position"] == 2
    assert jq.lease() == [("a", 1), ("b", 1)]
    assert jq.state("a") == "r"
    jq.pass_time(250)
    assert jq.ack("a", result=b"x" * 100) == (1, "s")
    record = jq.record("a")
    assert (record["hr"], record["R"], record["A"]) == (1, b"x" * 100, b"")
    assert record["f"] - record["o"] == 250
    assert jq.of_queue()["running"] == 1
    assert jq.of_queue()["run_ms"] == 250


def test_a_failed_attempt_waits_for_the_next_one_and_then_the_job_has_failed(jq: Client) -> None:
    jq.submit("a", options=spec(attempts=2))
    jq.lease()
    assert jq.nack("a", delay_ms=500) == (1, "d")
    jq.pass_time(499)
    assert jq.call("tick", 100)[2] == []
    jq.pass_time(1)
    assert jq.call("tick", 100)[2] == [b"a"]
    assert jq.lease() == [("a", 2)]
    assert jq.nack("a", 2) == (1, "f")
    record = jq.record("a")
    assert msgspec.msgpack.decode(record["E"]) == ["handler_error", "boom"]
    assert record["A"] == b"{}"
    length = int.from_bytes(record["H"][:4], "big")
    assert msgspec.msgpack.decode(record["H"][4 : 4 + length]) == [
        1,
        1_000_000,
        1_000_000,
        "handler_error",
        "boom",
        "trace",
    ]


def test_a_history_keeps_the_latest_ten_attempts(jq: Client) -> None:
    jq.submit("a", options=spec(attempts=20))
    for attempt in range(1, 13):
        assert jq.lease() == [("a", attempt)]
        jq.nack("a", attempt, delay_ms=0, blame=0)
        jq.call("tick", 100)
    history, attempts = jq.record("a")["H"], []
    while history:
        length = int.from_bytes(history[:4], "big")
        attempts.append(msgspec.msgpack.decode(history[4 : 4 + length])[0])
        history = history[4 + length :]
    assert attempts == list(range(3, 13))


def test_a_delayed_job_is_ready_at_its_instant(jq: Client) -> None:
    jq.submit("a", options=spec(delay_ms=1000))
    jq.submit("b", options=spec(delay_ms=1, run_at=1_002_000))
    assert jq.state("a") == "d"
    assert jq.call("beat", "p1", TTL_MS)[2] == 1_001_000
    jq.pass_time(1000)
    jq.call("tick", 100)
    assert jq.lease() == [("a", 1)]
    assert jq.record("b")["d"] == 1_002_000


def test_a_job_that_nothing_started_in_time_expires(jq: Client) -> None:
    jq.submit("a", options=spec(start_by_ms=100))
    jq.submit("b", options=spec(start_by_ms=100))
    jq.pass_time(100)
    assert jq.lease(most=1) == []
    assert (jq.state("a"), jq.state("b")) == ("x", "x")
    jq.submit("c", options=spec(start_by_ms=100))
    jq.pass_time(100)
    assert jq.call("tick", 100)[3] == [b"c"]


def test_terminal_records_are_evicted_after_their_ttl(jq: Client) -> None:
    jq.submit("a", options=spec(ttl_ms=1000))
    jq.lease()
    jq.ack("a", result=b"r" * 100)
    jq.pass_time(1000)
    assert jq.call("tick", 100)[4] == [b"a"]
    assert jq.call("look", 0, "a")[1] is None
    assert jq.client.keys("*res:*") == []


# Resends


def test_a_submission_sent_twice_is_one_job(jq: Client) -> None:
    assert jq.submit("a") == [1]
    assert jq.submit("a") == [2]
    assert jq.counts()["accepted"] == 1


def test_a_lease_with_a_lost_reply_is_answered_again(jq: Client) -> None:
    jq.submit("a", "b", "c")
    assert jq.lease("p1", 2, 7) == [("a", 1), ("b", 1)]
    jq.ack("a")
    assert jq.lease("p1", 2, 7) == [("b", 1)]
    assert jq.lease("p1", 2, 8) == [("c", 1)]


def test_reconcile_gives_back_a_lease_with_a_reply_that_is_lost_for_good(jq: Client) -> None:
    jq.submit("a", "b")
    jq.lease()
    assert jq.call("reconcile", "p1", TTL_MS, "server", 1, "b", 1)[1:] == [1, 0, 1, b"a", 0]
    assert jq.call("reconcile", "p1", TTL_MS, "server", 1, "b", 1)[1:] == [1, 0, 0, 0]
    record = jq.record("a")
    assert (record["s"], record["a"], record["n"]) == (b"q", 1, 1)
    assert jq.lease() == [("a", 2)]


def test_reconcile_names_the_attempts_that_a_process_has_lost(jq: Client) -> None:
    jq.submit("a")
    jq.lease()
    jq.ack("a")
    assert jq.call("reconcile", "p1", TTL_MS, "server", 2, "a", 1, "b", 1)[1:] == [1, 0, 0, 2, b"a", 1, b"b", 1]


def test_a_verdict_sent_twice_is_done_once(jq: Client) -> None:
    jq.submit("a", "b")
    jq.lease()
    assert jq.ack("a") == (1, "s")
    assert jq.ack("a") == (2, "s")
    assert jq.nack("b") == (1, "d")
    assert jq.nack("b") == (2, "d")
    assert jq.of_queue()["ended"] == 1


def test_a_late_verdict_bounces(jq: Client) -> None:
    jq.submit("a")
    jq.lease()
    jq.pass_time(TTL_MS)
    assert jq.call("tick", 100)[5] == [b"a", 1, b"host:1"]
    assert jq.ack("a") == (0, "q")
    assert jq.ack("a", 2) == (0, "q")
    assert jq.ack("none") == (0, "")


def test_a_verdict_of_another_process_bounces(jq: Client) -> None:
    jq.submit("a")
    jq.lease()
    assert jq.ack("a", process="p2") == (0, "r")


def test_an_operator_s_call_sent_twice_has_the_same_reply(jq: Client) -> None:
    jq.submit("a")
    first = jq.call("cancel", "token", 1, "a")
    assert first[1:] == [1, b"c", 1]
    assert jq.call("cancel", "token", 1, "a") == first
    assert jq.call("cancel", "other", 1, "a")[1] == -10
    assert jq.call("delete", "t2", 1, "a")[1] == 1
    assert jq.call("delete", "t2", 1, "a")[1] == 1
    assert jq.call("delete", "t3", 1, "a")[1] == 0


def test_joining_twice_gives_the_same_run(jq: Client) -> None:
    first = jq.call("join", "p2", TTL_MS, "server", b"x" * 32, "", 0)
    assert jq.call("join", "p2", TTL_MS, "server", b"y" * 32, "", 0)[1:3] == first[1:3]
    assert first[2] == SECRET
    assert jq.call("join", "p3", TTL_MS, "server", b"x" * 32, "", 0)[1] == first[1] + 1


# Processes


def test_a_dead_process_leases_nothing_and_no_beat_revives_it(jq: Client) -> None:
    jq.submit("a", "b")
    jq.lease(most=1)
    jq.pass_time(TTL_MS)
    assert jq.call("beat", "p1", TTL_MS)[1] == 1
    jq.pass_time(TTL_MS)
    assert jq.call("tick", 100)[8] == [b"p1", b"host:1"]
    assert jq.call("beat", "p1", TTL_MS)[1] == 0
    assert jq.call("lease", "p1", 0, 5, 1, "", 5, "default")[1] == 0
    assert jq.call("reconcile", "p1", TTL_MS, "server", 0)[1] == 0


def test_a_job_of_a_dead_process_goes_back_to_its_place_and_the_attempt_counts(jq: Client) -> None:
    jq.submit("a", "b", options=spec(attempts=2))
    jq.lease(most=1)
    jq.pass_time(TTL_MS)
    assert jq.call("tick", 100)[5] == [b"a", 1, b"host:1"]
    jq.call("join", "p2", TTL_MS, "server", SECRET, "other:2", 0)
    reply = jq.call("lease", "p2", 0, 1, 1, "", 5, "default")
    record = stored(reply[5])
    assert (reply[4], record["a"], record["rc"]) == (b"a", 2, 2)
    jq.pass_time(TTL_MS)
    assert jq.call("tick", 100)[6] == [b"a", 2, b"other:2"]
    assert msgspec.msgpack.decode(jq.record("a")["E"])[0] == "worker_crashed"


def test_a_tick_takes_a_hundred_jobs_of_a_dead_process_at_most(jq: Client) -> None:
    jq.set_queue(capacity=1000, workers=1000)
    for first in range(0, 150, 50):
        jq.submit(*(f"j{number}" for number in range(first, first + 50)))
    while jq.lease():
        pass
    jq.pass_time(TTL_MS)
    reply = jq.call("tick", 100)
    assert len(reply[5]) == 3 * 100
    assert reply[1] == jq.now
    assert len(jq.call("tick", 100)[5]) == 3 * 50
    assert jq.call("tick", 100)[5] == []


def test_after_a_restart_of_the_store_no_process_is_given_up_for_a_while(jq: Client) -> None:
    jq.submit("a")
    jq.lease()
    jq.pass_time(TTL_MS)
    jq.call("join", "p2", TTL_MS, "another server", SECRET, "", 0)
    assert jq.call("tick", 100)[8] == []
    jq.call("beat", "p2", 10 * TTL_MS)
    jq.pass_time(2 * TTL_MS)
    assert jq.call("tick", 100)[8] == [b"p1", b"host:1"]


def test_a_process_that_leaves_gives_its_jobs_back_uncharged(jq: Client) -> None:
    jq.submit("a", "b")
    jq.lease(most=1)
    assert jq.call("leave", "p1")[1:] == [0, 1, b"a", 1]
    assert jq.call("leave", "p1")[1:] == [0, 0]
    assert (jq.record("a")["n"], jq.record("a")["position"]) == (1, 1)


def test_attempts_that_are_given_back_are_not_charged(jq: Client) -> None:
    jq.submit("a", options=spec(attempts=1))
    jq.lease()
    assert jq.call("give_back", "p1", 1, "a", 1)[1:] == [1, b"q", 2]
    assert jq.call("give_back", "p1", 1, "a", 1)[1] == 2
    assert jq.lease() == [("a", 2)]
    assert jq.nack("a", 2) == (1, "f")


def test_a_running_job_is_cancelled_by_its_process(jq: Client) -> None:
    jq.submit("a")
    jq.lease()
    assert jq.call("cancel", "t", 1, "a")[1:] == [1, b"r", 2]
    for _ in range(2):
        assert jq.call("beat", "p1", TTL_MS)[3:] == [1, b"a", 1, b"cancelled"]
    assert jq.record("a")["st"] == b"cancelled"
    assert jq.call("stopped", "p1", 1, "a", 1, "cancelled")[1:] == [1, b"c", 3]
    assert jq.call("stopped", "p1", 1, "a", 1, "cancelled")[1] == 2
    assert jq.call("beat", "p1", TTL_MS)[3] == 0


def test_a_success_counts_though_the_job_was_being_cancelled_but_not_after_its_timeout(jq: Client) -> None:
    jq.submit("a", "b")
    jq.lease()
    jq.call("cancel", "t", 1, "a")
    assert jq.ack("a") == (1, "s")
    assert jq.call("stop", "p1", "b", 1, "timed_out")[1:] == [1, b"timed_out", 2]
    assert jq.call("stop", "p1", "b", 1, "cancelled")[1:] == [2, b"timed_out", 2]
    assert jq.ack("b") == (3, "r")
    assert jq.nack("b") == (3, "r")
    assert jq.nack("b", code="timed_out") == (1, "d")


def test_the_report_of_a_cancelled_attempt_does_not_count(jq: Client) -> None:
    jq.submit("a")
    jq.lease()
    jq.call("cancel", "t", 1, "a")
    assert jq.nack("a") == (1, "c")


def test_progress_is_a_new_version_until_the_next_attempt(jq: Client) -> None:
    jq.submit("a")
    jq.lease()
    assert jq.call("report", "p1", 1, "a", 1, b"half")[1:] == [1, 2]
    assert jq.call("report", "p1", 1, "a", 1, b"half")[1:] == [1, 2]
    assert jq.call("report", "p1", 1, "a", 2, b"half")[1:] == [0, 0]
    assert jq.record("a")["P"] == b"half"
    jq.nack("a", code="worker_crashed")
    jq.lease()
    assert jq.record("a")["P"] == b""


def test_a_record_that_another_program_has_removed_stops_neither_evictions_nor_a_change_of_discipline(
    jq: Client,
) -> None:
    jq.set_bounds(jobs=3)
    jq.submit("a", "b")
    jq.lease()
    jq.ack("a")
    jq.ack("b")
    jq.client.delete(f"{jq.prefix}j:a")
    assert jq.submit("c", "d") == [1, 1]
    jq.client.delete(f"{jq.prefix}j:c")
    jq.set_queue(discipline="lifo")
    jq.call("tick", 100)
    assert jq.lease() == [("d", 1)]
    jq.client.flushdb()  # the counts of before are wrong, which the audit would tell


def test_the_stream_of_events_is_not_kept_after_the_listening(jq: Client) -> None:
    jq.call("events", 5000, "", 1)
    jq.submit("a")
    jq.call("events", 4000, "", 1)
    jq.pass_time(2000)
    jq.call("events", 5000, "", 1)
    assert 4000 < jq.client.pttl(f"{jq.prefix}ev") <= 5000


def test_entries_that_a_call_has_left_behind_midway_stop_nothing(jq: Client) -> None:
    jq.submit("done", "ready", "late")
    jq.lease("p1", 1)
    jq.ack("done")
    at = {"done": jq.now}
    jq.client.sadd(f"{jq.prefix}l:p1", "done", "late")
    jq.client.zadd(f"{jq.prefix}d", at)
    jq.client.zadd(f"{jq.prefix}s", at)
    jq.client.zadd(f"{jq.prefix}r:default:~", {"done": 0})
    jq.client.zadd(f"{jq.prefix}a:default", {"~": 0})
    jq.client.zadd(f"{jq.prefix}e", {"ready": jq.now})
    jq.client.zadd(f"{jq.prefix}ce:", {"ready": 0})
    jq.call("tick", 100)
    assert jq.call("reconcile", "p1", TTL_MS, "server", 0)[1:] == [1, 0, 0, 0]
    jq.client.sadd(f"{jq.prefix}l:p1", "done")
    jq.set_bounds(jobs=3)
    assert jq.submit("more") == [1]
    assert jq.state("ready") == "q"
    assert [job_id for job_id, _ in jq.lease()] == ["ready", "late", "more"]
    jq.pass_time(2 * TTL_MS)
    requeued, failed = jq.call("tick", 100)[5:7]
    assert (sorted(requeued[::3]), failed) == ([b"late", b"more", b"ready"], [])
    jq.call("join", "p2", TTL_MS, "server", SECRET, "", 0)
    jq.client.sadd(f"{jq.prefix}l:p2", "late")
    assert jq.call("leave", "p2")[1:] == [0, 0]


def test_a_hundred_thousand_attempts_are_reconciled(jq: Client) -> None:
    jq.submit("a")
    jq.lease()
    names = [value for n in range(99_999) for value in (f"x{n}", 1)]
    reply = jq.call("reconcile", "p1", TTL_MS, "server", 100_000, "a", 1, *names)
    assert reply[1:5] == [1, 0, 0, 99_999]
    assert jq.state("a") == "r"


def test_an_attempt_goes_back_though_the_process_names_an_earlier_one_of_its_job(jq: Client) -> None:
    jq.submit("a")
    jq.lease()
    jq.call("give_back", "p1", 1, "a", 1)
    assert jq.lease() == [("a", 2)]
    assert jq.call("reconcile", "p1", TTL_MS, "server", 1, "a", 1)[1:] == [1, 0, 1, b"a", 1, b"a", 1]
    assert jq.state("a") == "q"
