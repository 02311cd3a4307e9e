"""The bench of an outage on a small scale: a server is killed under load, and no accepted job is lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from bench.outage.__main__ import Outcome, measure, table
from bench.outage.loads import Seen, longest_halt_s, seen_by_users
from bench.outage.witness import Attempts, attempts_in
from bench.store import MISSING, executable

if TYPE_CHECKING:
    from pathlib import Path


def answer(at: float, kind: str, status: int, job_id: str = "", reason: str = "") -> dict[str, Any]:
    return {"at": at, "kind": kind, "status": status, "id": job_id, "reason": reason}


def test_the_users_of_locust_have_seen_jobs_ends_and_troubles_by_kind() -> None:
    seen = seen_by_users(
        "locust",
        [
            answer(1.0, "submit", 202, "a"),
            answer(1.5, "submit", 202, "b"),
            answer(1.6, "status", 202),
            answer(1.7, "status", 200),
            answer(2.0, "submit", 0, reason="ConnectionRefusedError"),
            answer(2.1, "status", 0, reason="RemoteDisconnected"),
            answer(2.2, "submit", 503, reason="store-unavailable"),
            answer(2.3, "status", 502),
            answer(4.0, "submit", 200, "b"),
            answer(5.0, "submit", 202, "c"),
            answer(5.5, "submit", 0, reason="ConnectionRefusedError"),
        ],
    )
    assert (seen.accepted, seen.ended, seen.ids) == (3, 1, {"a", "b", "c"})
    assert seen.gap_s == 3.5
    troubles = {"no connection": 2, "no answer": 1, "submit: 503 store-unavailable": 1, "status: 502": 1}
    assert seen.troubles == troubles


def test_a_user_that_is_never_accepted_again_has_a_gap_until_its_last_try() -> None:
    assert seen_by_users("locust", [answer(1.0, "submit", 202, "a"), answer(9.0, "submit", 0)]).gap_s == 8.0


def test_the_longest_halt_of_a_count_begins_once_it_has_grown() -> None:
    assert longest_halt_s([(1.0, 0), (9.0, 5), (10.0, 5), (11.0, 5), (12.0, 6), (13.0, 6)]) == 2.0
    assert longest_halt_s([]) == 0.0


def test_the_witness_tells_further_attempts_and_jobs_that_began_twice(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    file.write_text("a 1\nb 1\na 2\nb 1\n")
    assert attempts_in(file) == Attempts(jobs=2, further=1, twice=1)


def test_the_table_has_a_row_for_each_load() -> None:
    seen = [
        Seen("fleet, Caddy", 1200, 1200, Counter(), 0.1),
        Seen("locust, Caddy", 5, 4, Counter({"no answer": 2}), 1.0),
    ]
    text = table(Outcome(seen, 0, Counter({"succeeded": 5}), Attempts(1205, 3, 0), "1 server is lost"))
    assert "| fleet, Caddy | 1,200 | 1,200 | 0.1 s | none |" in text
    assert "| locust, Caddy | 5 | 4 | 1.0 s | no answer 2 |" in text
    assert "1,205 jobs accepted, lost 0; 1,205 jobs began, 3 once more elsewhere; attempts that began twice: 0." in text


@pytest.mark.slow
@pytest.mark.skipif(executable() is None, reason=MISSING)
def test_a_server_that_is_killed_under_load_costs_no_accepted_job(tmp_path: Path) -> None:
    outcome = measure("ports", tmp_path, clients=4, seconds=15)
    assert (outcome.lost, outcome.attempts.twice) == (0, 0)
    killed = [each for each in outcome.seen if "the killed server" in each.load]
    others = [each for each in outcome.seen if "the other one" in each.load]
    assert all(each.troubles["no connection"] > 0 for each in killed)
    assert all(not each.troubles and each.accepted for each in others)
    assert "1 server of the store is lost" in outcome.missed
