"""The ledger finds each kind of broken promise, and nothing in promises that were kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.cluster import differences
from tests.chaos.ledger import Accepted, Ledger


def ledger(*ids: str, unique: str | None = None) -> Ledger:
    ledger = Ledger()
    for id_ in ids:
        ledger.was_accepted(id_, Accepted(f"token of {id_}", "quick", unique))
    return ledger


def document(id_: str, state: str = "queued", **more: Any) -> dict[str, Any]:
    return {"id": id_, "type": "quick", "state": state, "result": None, **more}


def faults(ledger: Ledger, *documents: dict[str, Any]) -> list[str]:
    ledger.check({each["id"]: each for each in documents})
    return ledger.faults


def test_kept_promises_are_no_faults() -> None:
    kept = ledger("a", "b", "c")
    kept.cancelled.add("b")
    kept.deleted.add("c")
    kept.saw("a", "running", 0.9, 1.0)
    found = faults(
        kept,
        document("a", "succeeded", result="token of a"),
        document("b", "cancelled"),
        {"id": "c", "status": 410, "problem": {}},
    )
    kept.check_end({"a": document("a", "succeeded")}, ["a 1", "a 2", "b 1"])
    assert found == []


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"id": "a", "status": 410, "problem": {}}, "lost: a"),
        (document("a", type="slow"), "a was quick, and is slow"),
        (document("a", "succeeded", result="another"), "result 'another'"),
    ],
)
def test_a_lost_or_changed_job_is_a_fault(told: dict[str, Any], fault: str) -> None:
    (found,) = faults(ledger("a"), told)
    assert found.startswith(fault)


def test_a_cancel_or_delete_that_is_undone_is_a_fault() -> None:
    undone = ledger("a", "b")
    undone.cancelled.add("a")
    undone.deleted.add("b")
    assert [fault.partition(":")[0] for fault in faults(undone, document("a"), document("b"))] == [
        "cancelled, and now queued",
        "deleted, and there again",
    ]


def test_an_end_that_was_seen_long_before_the_kill_stays() -> None:
    seen = ledger("a", "b")
    seen.saw("a", "succeeded", 0.9, 1.0)
    seen.saw("b", "succeeded", 2.9, 3.0)
    seen.forget_latest(2.0)
    assert faults(seen, document("a"), document("b")) == ["was succeeded, and is queued: a"]


def test_an_older_state_is_a_fault_if_it_was_asked_for_after_the_end_was_seen() -> None:
    seen = ledger("a")
    seen.saw("a", "succeeded", 1.0, 2.0)
    seen.saw("a", "running", 1.5, 3.0)
    assert seen.faults == []
    seen.saw("a", "running", 2.5, 3.0)
    assert seen.faults == ["a was succeeded, then running, asked for 0.500000 s later"]


def test_one_id_for_two_submissions_is_a_fault() -> None:
    twice = ledger("a")
    twice.was_accepted("a", Accepted("another", "quick", None))
    assert len(twice.faults) == 1


def test_a_job_that_is_there_with_a_unique_value_is_no_second_submission() -> None:
    shared = Ledger()
    shared.was_there("a", Accepted("second", "quick", "v"))
    shared.was_accepted("a", Accepted("first", "quick", "v"))
    shared.was_there("a", Accepted("third", "quick", "v"))
    assert faults(shared, document("a", "succeeded", result="first")) == []


def test_another_job_for_the_key_of_a_deleted_one_is_no_fault() -> None:
    keyed = ledger("a", "b", "c")
    keyed.was_kept("key", "a")
    keyed.maybe_deleted.add("a")
    keyed.was_kept("key", "b")
    assert keyed.faults == []
    keyed.was_kept("key", "c")
    assert keyed.faults == ["key key gave b, then c"]


def test_another_job_for_a_key_is_a_fault() -> None:
    keyed = ledger("a", "b")
    keyed.was_kept("key", "a")
    keyed.was_kept("key", "a")
    assert keyed.faults == []
    keyed.was_kept("key", "b")
    assert keyed.faults == ["key key gave a, then b"]


def test_two_live_jobs_with_a_unique_value_are_a_fault() -> None:
    both = ledger("a", "b", unique="v")
    assert faults(both, document("a", "succeeded", result="token of a"), document("b")) == []
    assert faults(both, document("a"), document("b")) == ["2 live jobs have the unique value v"]


def test_an_attempt_that_began_twice_a_job_without_an_end_and_one_without_a_run_are_faults() -> None:
    ended = ledger("a", "b")
    ended.check_end({"a": document("a"), "b": document("b", "succeeded")}, ["a 1", "a 2", "a 2"])
    assert ended.faults == ["began 2 times: a 2", "not ended: a queued", "succeeded, and never began: b"]


def test_documents_of_two_servers_differ_unless_only_instants_do_by_milliseconds() -> None:
    def told(state: str, instant: str) -> dict[str, dict[str, Any]]:
        return {"a": {"state": state, "run_at": instant, "history": [{"attempt": 1, "ended_at": instant}]}}

    one, near = told("queued", "2026-01-01T00:00:00.000Z"), told("queued", "2026-01-01T00:00:00.001Z")
    far = told("running", "2026-01-01T00:00:01.000Z")
    assert differences(one, near) == []
    assert len(differences(one, far)) == 1
    assert "state" in differences(one, far)[0]
    assert "run_at" in differences(one, far)[0]
    assert "history" in differences(one, far)[0]
    assert len(differences(one, {})) == 1
