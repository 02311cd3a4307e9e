"""The pause of snapshots: longer where they free nothing, and short again once one would."""

from __future__ import annotations

from jobqueue.backend.journal.snapshot_pause import AGAIN_S, AGAIN_S_MAX, SnapshotPause

SEGMENT_BYTES = 1000


def over_after_s(pause: SnapshotPause, begun_at: float) -> float:
    """Return the seconds after which a pause is over."""
    return next(s for s in range(0, 2000, 10) if pause.is_over(begun_at + s))


def test_snapshots_that_free_nothing_get_rarer_up_to_a_bound() -> None:
    pause, now, lengths = SnapshotPause(SEGMENT_BYTES, lambda: 5000), 0.0, []
    assert pause.is_over(now)
    for _ in range(7):
        pause.begin(now, freed_bytes=SEGMENT_BYTES - 1)
        lengths.append(over_after_s(pause, now))
        now += lengths[-1]
    assert lengths == [60, 120, 240, 480, 960, 960, 960]
    assert lengths[0] == AGAIN_S
    assert lengths[-1] == AGAIN_S_MAX


def test_a_snapshot_that_frees_a_segment_makes_the_pause_short_again() -> None:
    pause = SnapshotPause(SEGMENT_BYTES, lambda: 5000)
    for _ in range(3):
        pause.begin(0.0, freed_bytes=0)
    pause.begin(0.0, freed_bytes=SEGMENT_BYTES)
    assert over_after_s(pause, 0.0) == AGAIN_S


def test_a_snapshot_that_failed_is_tried_again_in_a_minute_each_time() -> None:
    pause = SnapshotPause(SEGMENT_BYTES, lambda: 5000)
    for _ in range(3):
        pause.begin(0.0)
        assert over_after_s(pause, 0.0) == AGAIN_S


def test_a_pause_that_ends_begins_short_again() -> None:
    pause = SnapshotPause(SEGMENT_BYTES, lambda: 5000)
    pause.begin(0.0, freed_bytes=0)
    pause.begin(0.0, freed_bytes=0)
    pause.end()
    assert pause.is_over(0.0)
    pause.begin(0.0, freed_bytes=0)
    assert over_after_s(pause, 0.0) == AGAIN_S


def test_once_a_segment_less_is_held_a_minute_is_enough() -> None:
    held = [5000]
    pause = SnapshotPause(SEGMENT_BYTES, lambda: held[0])
    for _ in range(5):
        pause.snapshot()
        pause.begin(0.0, freed_bytes=0)
    held[0] = 4001
    assert not pause.is_over(AGAIN_S)
    held[0] = 4000
    assert not pause.is_over(AGAIN_S - 1)
    assert pause.is_over(AGAIN_S)


def test_jobs_that_end_while_a_snapshot_is_written_count_for_the_next_one() -> None:
    held = [5000]
    pause = SnapshotPause(SEGMENT_BYTES, lambda: held[0])
    for _ in range(5):
        pause.snapshot()
        held[0] -= SEGMENT_BYTES
        pause.begin(0.0, freed_bytes=0)
        assert pause.is_over(AGAIN_S)
