"""Submissions that are rejected, or meet an existing job: each code of `submit` and `retry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.backend.valkey.function_client import claims, codes_of, spec
from tests.stores import FunctionError

if TYPE_CHECKING:
    from tests.backend.valkey.function_client import Client


def test_a_full_queue_rejects(jq: Client) -> None:
    jq.set_queue(capacity=2)
    assert jq.submit("a", "b", "c") == [1, 1, -1]
    jq.lease(most=1)
    assert jq.submit("d") == [-1]
    jq.ack("a")
    assert jq.submit("d") == [1]


def test_a_queue_that_was_never_set_rejects(jq: Client) -> None:
    assert jq.submit("a", queue="other") == [-9]


def test_a_store_full_of_live_jobs_rejects(jq: Client) -> None:
    jq.set_bounds(jobs=1)
    assert jq.submit("a", "b") == [1, -2]
    jq.set_bounds(size=100)
    assert jq.submit("c", args=b"x" * 101) == [-2]


def test_terminal_records_make_room(jq: Client) -> None:
    jq.set_bounds(jobs=2)
    jq.submit("a", "b")
    jq.lease()
    jq.ack("a")
    reply = jq.call("submit", "default", 1, 1, "c", 0, spec(), b"{}", b"")
    assert (reply[3], codes_of(reply)) == (1, [1])
    assert jq.record("a") == {}
    assert jq.counts()["evicted_early"] == 1


def test_the_caller_with_the_most_records_loses_its_oldest_one(jq: Client) -> None:
    jq.set_bounds(jobs=4)
    jq.submit("a", given=claims("quiet"))
    jq.submit("b", "c", "d", given=claims("busy"))
    jq.lease()
    for job_id in "abcd":
        jq.ack(job_id)
        jq.pass_time(1)
    jq.submit("e", given=claims("quiet"))
    assert [jq.state(job_id) for job_id in "abcde"] == ["s", "", "s", "s", "q"]
    assert jq.call("holders", 10)[1:] == [1, b"quiet", 1, 2, 2, 3, b"busy", 0, 0, 2, 2]


def test_a_caller_s_quotas_reject(jq: Client) -> None:
    assert jq.submit("a", "b", given=claims("u", jobs_max=1)) == [1, -5]
    assert jq.submit("c", given=claims("u", records_max=1)) == [-6]
    assert jq.submit("d", given=claims("u", bytes_max=3)) == [-7]
    assert jq.submit("e", given=claims("v", jobs_max=1)) == [1]
    assert jq.call("holdings", "u", "v", "w", "")[1:] == [1, 2, 1, 2, 1, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0]


def test_a_caller_over_its_records_loses_its_own_oldest_one(jq: Client) -> None:
    jq.submit("a", "b", given=claims("u"))
    jq.lease()
    jq.ack("a")
    jq.pass_time(1)
    jq.ack("b")
    assert jq.submit("c", given=claims("u", records_max=2)) == [1]
    assert [jq.state(job_id) for job_id in "abc"] == ["", "s", "q"]


def test_a_key_leads_to_its_job_and_is_not_for_another_submission(jq: Client) -> None:
    jq.submit("a", given=claims("u", key="k", fingerprint="f"))
    assert jq.submit_one("b", spec(), claims("u", key="k", fingerprint="f"))[:3] == [3, b"a", b"q"]
    assert jq.submit_one("b", spec(), claims("u", key="k", fingerprint="g"))[0::5] == [-4, b"a"]
    assert jq.submit("b", given=claims("v", key="k", fingerprint="g")) == [1]
    assert jq.call("find", "u", "k")[1] == b"a"
    assert jq.call("find", "", "k")[1] == b""


def test_a_key_is_free_once_its_record_is_gone(jq: Client) -> None:
    jq.submit("a", given=claims("u", key="k", fingerprint="f"))
    jq.call("cancel", "", 1, "a")
    jq.call("delete", "", 1, "a")
    assert jq.submit("b", given=claims("u", key="k", fingerprint="g")) == [1]


def test_a_key_of_a_record_that_was_lost_is_taken_over(jq: Client) -> None:
    jq.submit("a", given=claims("u", key="k", fingerprint="f", value="v", mode="reject"))
    jq.client.hset(f"{jq.prefix}k", "=u\0stale", "none\0f")
    jq.client.hset(f"{jq.prefix}u", "\0echo\0stale", "none")
    given = claims("u", key="stale", fingerprint="g", value="stale", mode="reject")
    assert jq.submit("b", given=given) == [1]


def test_the_modes_of_a_unique_value(jq: Client) -> None:
    assert jq.submit("a", given=claims(value="v", mode="return")) == [1]
    assert jq.submit_one("b", spec(), claims(value="v", mode="return"))[:2] == [3, b"a"]
    assert jq.submit_one("b", spec(), claims(value="v", mode="reject"))[:2] == [-8, b"a"]
    assert jq.submit_one("b", spec(), claims(value="v", mode="replace"))[0::5] == [1, b"a"]
    assert jq.state("a") == "c"
    assert jq.submit("c", given=claims(value="v", mode="reject", owner="o")) == [1]
    assert jq.submit("d", options=spec("other"), given=claims(value="v", mode="reject")) == [1]


def test_a_running_job_is_asked_to_stop_for_its_replacement(jq: Client) -> None:
    jq.submit("a", given=claims(value="v", mode="return"))
    jq.lease()
    assert jq.submit_one("b", spec(), claims(value="v", mode="replace"))[0::5] == [1, b"a"]
    assert jq.call("beat", "p1", 15_000)[3:] == [1, b"a", 1, b"cancelled"]
    assert jq.submit_one("c", spec(), claims(value="v", mode="reject"))[1] == b"b"
    jq.call("stopped", "p1", 1, "a", 1, "cancelled")
    assert jq.submit_one("c", spec(), claims(value="v", mode="reject"))[1] == b"b"


def test_debounce_gives_a_waiting_job_new_arguments_and_a_new_delay(jq: Client) -> None:
    given = claims(value="v", mode="debounce")
    jq.submit("a", options=spec(delay_ms=1000), given=given, args=b"1")
    jq.pass_time(800)
    reply = jq.submit_one("b", spec(delay_ms=1000, start_by_ms=5000), given, args=b"2" * 100)
    assert reply[:3] == [4, b"a", b"d"]
    record = jq.record("a")
    assert (record["A"], record["d"], record["t"]) == (b"2" * 100, jq.now + 1000, jq.now + 5000)
    jq.pass_time(1000)
    jq.call("tick", 100)
    assert jq.submit_one("c", spec(delay_ms=1000), given, args=b"3")[:3] == [4, b"a", b"q"]
    jq.lease()
    assert jq.submit("d", given=given) == [1]


def test_a_debounced_submission_that_is_sent_again_changes_nothing_more(jq: Client) -> None:
    given, options = claims(value="v", mode="debounce"), spec(delay_ms=1000)
    jq.submit("a", options=options, given=given, args=b"1")
    jq.submit("b", options=options, given=given, args=b"2")
    jq.pass_time(100)
    jq.submit("c", options=options, given=given, args=b"3")
    before = jq.record("a")
    jq.pass_time(100)
    assert jq.submit_one("b", options, given, args=b"2")[:3] == [4, b"a", b"d"]
    assert jq.record("a") == before, "the newest arguments, and their delay"
    jq.pass_time(1000)
    jq.call("tick", 100)
    jq.lease()
    jq.ack("a")
    assert jq.submit_one("c", options, given, args=b"3")[:3] == [4, b"a", b"s"]
    assert jq.audit() == []


def test_a_debounced_submission_that_a_later_one_of_its_process_has_overtaken_changes_nothing(jq: Client) -> None:
    given, options = claims(value="v", mode="debounce"), spec(delay_ms=1000)
    jq.submit("run-1", options=options, given=given, args=b"1")
    jq.submit("run_", options=options, given=given, args=b"4")
    assert jq.submit_one("runZ", options, given, args=b"3")[:3] == [4, b"run-1", b"d"]
    assert jq.record("run-1")["A"] == b"4"
    jq.submit("runa", options=options, given=given, args=b"5")
    assert jq.record("run-1")["A"] == b"5", "ids are in the order of their bytes"
    assert jq.submit("oth-", options=options, given=given, args=b"6") == [4]
    assert jq.record("run-1")["A"] == b"6", "another process has ids of its own"


def test_debounced_submissions_take_bounded_room_which_goes_with_the_record(jq: Client) -> None:
    def size() -> int:
        return sum(jq.client.memory_usage(key) for key in jq.client.scan_iter(f"{jq.prefix}db:*"))

    given, options = claims(value="v", mode="debounce"), spec(delay_ms=1000)
    jq.submit("a", options=options, given=given)
    for number in range(500):
        job_id = f"{number % 100:03d}-{number:018d}"
        assert jq.submit(job_id, options=options, given=given) == [4]
    assert 0 < size() < 1000
    assert jq.submit_one(job_id, options, given)[:2] == [4, b"a"], "the last one is known"
    jq.call("cancel", "", 1, "a")
    jq.submit("b", options=options, given=given)
    jq.submit("c", options=options, given=given)
    jq.call("delete", "", 1, "a")
    assert jq.audit() == []
    assert jq.submit_one("c", options, given, args=b"2")[:2] == [4, b"b"]
    assert jq.record("b")["A"] == b"{}", "the submission that has debounced the other job is still known"
    jq.call("cancel", "", 1, "b")
    jq.call("delete", "", 1, "b")
    assert size() == 0


def test_a_replacement_needs_no_slot_of_its_own(jq: Client) -> None:
    jq.set_queue(capacity=1)
    jq.submit("a", given=claims(value="v", mode="return"))
    assert jq.submit("b", given=claims(value="v", mode="replace")) == [1]
    assert jq.submit("c") == [-1]


def test_further_keys_of_a_job_are_its_latest_hundred(jq: Client) -> None:
    jq.submit("a", given=claims("u", value="v", mode="return"))
    for number in range(102):
        given = claims("u", key=f"k{number}", fingerprint="f", value="v", mode="return")
        assert jq.submit("b", given=given) == [3]
    assert jq.call("find", "u", "k1")[1] == b""
    assert jq.call("find", "u", "k2")[1] == b"a"
    jq.call("cancel", "", 1, "a")
    jq.call("delete", "", 1, "a")
    assert jq.client.hlen(f"{jq.prefix}k") == 0


def test_a_retry_has_the_codes_of_a_submission(jq: Client) -> None:
    jq.submit("a", "b", options=spec(attempts=1))
    jq.submit("c", options=spec(attempts=1), given=claims(value="v", mode="return"))
    jq.lease()
    for job_id in "abc":
        jq.nack(job_id, blame=0)
    assert jq.call("retry", "t", 1, "a")[1:3] == [1, b"q"]
    assert (jq.record("a")["n"], jq.record("a")["E"]) == (1, b"")
    assert jq.call("retry", "", 1, "a")[1] == -10
    jq.submit("d", given=claims(value="v", mode="return"))
    assert jq.call("retry", "", 1, "c")[1::3] == [-11, b"d"]
    jq.set_queue(capacity=2)
    assert jq.call("retry", "", 1, "b")[1] == -1
    assert jq.call("retry", "", 1, "none")[1] == 0
    assert jq.lease() == [("a", 2), ("d", 1)]


def test_failed_records_beyond_their_bound_are_evicted(jq: Client) -> None:
    jq.set_bounds(failed=2)
    jq.submit("a", "b", "c", options=spec(attempts=1))
    jq.lease()
    for job_id in "abc":
        jq.nack(job_id, blame=0)
    assert [jq.state(job_id) for job_id in "abc"] == ["", "f", "f"]


def test_a_result_that_finds_no_room_changes_nothing(jq: Client) -> None:
    jq.set_bounds(size=100)
    jq.submit("a")
    jq.lease()
    assert jq.ack("a", result=b"x" * 101) == (4, "r")
    assert jq.nack("a", code="result_too_large", blame=0, final=1) == (1, "f")


@pytest.mark.parametrize(
    "item",
    [
        ["a", 0, b"\xff", b"{}", b""],
        ["a", 0, b"", b"{}", b""],
        ["a", 0, msgspec.msgpack.encode(["echo"]), b"{}", b""],
        ["a", "x", spec(), b"{}", b""],
        ["a", -1, spec(), b"{}", b""],
        ["a", 0, spec(), b"{}"],
        ["a", 0, spec(), b"{}", b"\x91"],
    ],
)
def test_a_call_that_can_t_be_read_changes_nothing(jq: Client, item: list[str | bytes | int]) -> None:
    with pytest.raises(FunctionError, match="jobqueue"):
        jq.call("submit", "default", 1, 2, "good", 0, spec(), b"{}", b"", *item)
    assert jq.record("good") == {}
    assert jq.counts()["accepted"] == 0


def test_a_call_of_more_than_64_jobs_is_an_error(jq: Client) -> None:
    items = [part for number in range(65) for part in (f"j{number}", 0, spec(), b"{}", b"")]
    with pytest.raises(FunctionError, match="from 0 to 64"):
        jq.call("submit", "default", 1, 65, *items)


def test_a_job_that_another_one_of_its_call_replaces_leaves_no_arguments(jq: Client) -> None:
    given = claims(value="v", mode="replace")
    items = [part for job_id in "ab" for part in (job_id, 0, spec(), job_id.encode() * 100, given)]
    reply = jq.call("submit", "default", 1, 2, *items)
    assert codes_of(reply) == [1, 1]
    assert (jq.state("a"), jq.state("b")) == ("c", "q")
    assert jq.client.keys("*arg:*") == [f"{jq.prefix}arg:b".encode()]


def test_a_job_that_is_sent_again_behind_one_that_evicts_it_is_a_new_one(jq: Client) -> None:
    jq.set_bounds(jobs=2)
    jq.submit("a", "b", args=b"o" * 100)
    jq.lease()
    jq.nack("a", final=1)
    jq.ack("b")
    items = [part for job_id in "ca" for part in (job_id, 0, spec(), b"n" * 100, b"")]
    assert codes_of(jq.call("submit", "default", 1, 2, *items)) == [1, 1]
    record = jq.record("a")
    assert (record["s"], record["A"], record["h"]) == (b"q", b"n" * 100, 0)
    assert jq.client.keys("*his:*") == []
    assert jq.record("b") == {}


def test_a_debounced_job_stays_that_of_its_caller(jq: Client) -> None:
    options = spec(delay_ms=100)
    jq.submit_one("a", options, claims("ann", value="v", mode="debounce"))
    assert jq.submit_one("b", spec(delay_ms=200), claims("bob", value="v", mode="debounce"))[0] == 4
    assert jq.record("a")["d"] == jq.now + 200
    assert msgspec.msgpack.decode(jq.record("a")["C"])[0] == "ann"
    assert jq.call("holdings", "ann", "bob")[1::4] == [1, 0]
