"""The check of histories finds each kind of broken promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.history import History

if TYPE_CHECKING:
    from pathlib import Path


def history() -> History:
    """Return a sound history: one accepted job that succeeded, one rejected, one without an answer."""
    made = History()
    for token in ("a", "b", "c"):
        made.sent(token)
    made.was_accepted("a", "id-a")
    for state in ("queued", "running", "succeeded"):
        made.saw("a", state)
    made.was_refused("b")
    return made


def test_a_sound_history_has_no_faults(runs: Path) -> None:
    runs.write_text("begin a\nend a\nbegin c\n")
    counts = history().check(runs)
    assert counts.faults == []
    assert counts[:6] == (3, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("begin a\nend a\nbegin b\n", "ran, and was rejected: b"),
        ("begin a\nend a\nbegin d\n", "ran, and was never sent: d"),
        ("begin a\nbegin a\nend a\n", "ran 2 times: a"),
        ("begin a\n", "succeeded, and did not run: a"),
    ],
)
def test_a_broken_promise_in_the_runs_is_a_fault(runs: Path, lines: str, fault: str) -> None:
    runs.write_text(lines)
    assert history().check(runs).faults == [fault]


def test_a_job_without_an_end_is_lost(runs: Path) -> None:
    made = history()
    made.was_accepted("c", "id-c")
    made.saw("c", "running")
    runs.write_text("begin a\nend a\n")
    assert made.check(runs).faults == ["lost: c id-c"]
    assert made.check(runs, all_end=False).faults == []


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_state_after_the_end_is_a_fault(runs: Path, state: str) -> None:
    made = history()
    made.saw("a", state)
    runs.write_text("begin a\nend a\n")
    assert len(made.check(runs).faults) == 1


def test_a_second_id_under_one_key_is_a_fault(runs: Path) -> None:
    made = history()
    made.was_accepted("a", "id-other")
    runs.write_text("begin a\nend a\n")
    assert len(made.check(runs).faults) >= 1
