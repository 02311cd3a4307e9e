"""Random lives over crashes and clean stops: each process goes on with what the journal of the earlier ones tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.backend.journal.image import STARTS_MAX
from jobqueue.core.job import RUNNING, JobSpec, JobState, StopReason
from jobqueue.core.restore import VERSION_STEP
from jobqueue.errors import JobGone
from tests.backend.journal.differences import near
from tests.backend.journal.world import OFFSET_S, World

if TYPE_CHECKING:
    from jobqueue.core.job import Job

LIVES = 6
STEPS = 50
LATER = JobSpec(type="plain", own=True, delay_s=1000.0)


@pytest.mark.parametrize("seed", range(40))
def test_no_job_is_lost_and_no_attempt_runs_twice(seed: int) -> None:
    world = World(seed)
    attempts: dict[str, int] = {}
    crashed = False
    for life in range(LIVES):
        for _ in range(STEPS):
            world.step()
            note_attempts(world, attempts)
            if not crashed or not world.in_snapshot:
                crashed = False
                world.check()
        before, index = seen(world), world.engine.uniqueness_index
        keys, values = dict(index._by_key), dict(index._by_value)
        clean = (seed + life) % 3 == 0
        world.restart(clean=clean, after_s=world.rng.choice((0.0, 0.5, 3.0)))
        crashed = crashed or not clean
        check_same(world, before, clean=clean)
        check_uniqueness(world, keys, values)
    world.driver.advance(10_000.0)
    for job_id in before:
        if world.engine.store.get(job_id) is None:
            with pytest.raises(JobGone, match="evicted"):
                world.engine.get(job_id)


def note_attempts(world: World, attempts: dict[str, int]) -> None:
    """Check that a job's attempts rise over all processes."""
    for job in world.engine.newest_first(None):
        known = attempts.get(job.id, 0)
        assert job.attempt >= known
        attempts[job.id] = job.attempt


@pytest.mark.parametrize("seed", range(20))
def test_a_lost_start_of_an_attempt_never_gives_a_later_attempt_the_same_number(seed: int) -> None:
    world = World(seed)
    used: set[tuple[str, int]] = set()
    lost = 0
    for _ in range(12):
        running: dict[str, int] = {}
        for _ in range(world.rng.randrange(20)):
            world.step()
            note_starts(world, running, used)
        kept = len(used)
        for _ in range(3):
            world.start()
            world.driver.note_events()
            note_starts(world, running, used)
        lost += len(used) - kept
        world.gathered.clear()
        world.restart(clean=False, after_s=world.rng.choice((0.0, 0.5)))
    assert lost > 5


def note_starts(world: World, running: dict[str, int], used: set[tuple[str, int]]) -> None:
    """Check that no attempt has begun under a number that an earlier one of its job had, in whichever process."""
    for job in world.engine.newest_first(None):
        if job.state is RUNNING and running.get(job.id) != job.attempt:
            assert (job.id, job.attempt) not in used
            running[job.id] = job.attempt
            used.add((job.id, job.attempt))


@pytest.mark.parametrize("snapshots", [True, False])
def test_a_crash_is_counted_until_the_next_snapshot_is_complete(snapshots: bool) -> None:
    world = World(1)
    world.engine.submit(LATER, b"1", None, None, now=world.driver.now)
    world.driver.note_events()
    versions, recovered = [], []
    for _ in range(5):
        world.restart(clean=False)
        while snapshots and world.in_snapshot:
            world.go_on_with_snapshot()
        (job,) = world.engine.newest_first(None)
        versions.append(round(job.version / VERSION_STEP))
        recovered.append(0 if job.extras is None else job.extras.recovered)
    assert versions == recovered == [1, 2, 3, 4, 5]


def test_a_long_series_of_crashes_leaves_a_bounded_list_of_starts() -> None:
    world = World(1)
    for _ in range(STARTS_MAX + 20):
        world.restart(clean=False, after_s=1.0)
    last = world.driver.now + OFFSET_S
    assert world.image().starts == [last - each for each in reversed(range(STARTS_MAX))]


FIELDS = ("state", "version", "attempt", "attempts_before", "run_at", "result", "args", "error", "spec", "uniqueness")


def seen(world: World) -> dict[str, dict[str, Any]]:
    """Return what clients can see of all jobs, live and terminal."""

    def look(job: Job) -> dict[str, Any]:
        fields = {name: getattr(job, name) for name in (*FIELDS, "stopping", "finished_at", "attempts_max", "live")}
        over_at = None if job.finished_at is None else job.finished_at + world.engine.store.ttl_s(job)
        return {**fields, "over_at": over_at, "kept": job.id in world.engine.store._kept.jobs}

    return {job.id: look(job) for job in world.engine.newest_first(None)}


def check_same(world: World, before: dict[str, dict[str, Any]], *, clean: bool) -> None:
    now, engine = world.driver.now, world.engine
    early, kept = engine.totals().evicted_early, 0
    for job_id, was in before.items():
        job = engine.store.get(job_id)
        if job is None:
            if (
                was["over_at"] is None or was["over_at"] > now + 0.001
            ):  # records have milliseconds; jobs that failed just now took its place
                early -= 1
            elif was["kept"]:  # so did they, or no child needs it any more
                kept += 1
            continue
        assert job.version >= was["version"] - 1  # what became queued in time does so again
        for name in ("args", "result", "spec", "uniqueness"):
            assert near(getattr(job, name), was[name]) or job.state is JobState.CANCELLED
        if not was["live"]:
            assert (job.state, job.version, job.error) == (was["state"], was["version"], was["error"])
            assert near(job.finished_at, was["finished_at"])
        elif was["state"] is not RUNNING:
            # It may have been queued in time, which is not recorded: it is due again at once.
            assert job.state is was["state"] or (job.state is JobState.DELAYED and job.run_at <= now + 0.001)
        elif was["stopping"] is StopReason.CANCELLED:
            assert job.state is JobState.CANCELLED
        elif was["stopping"] is StopReason.TIMED_OUT and clean:
            assert job.state in ("queued", "delayed", "failed")  # the drain may have waited for the end of the attempt
        elif clean:
            assert (job.state, job.attempts_before) == ("queued", was["attempts_before"] + 1)
        else:
            assert job.state == ("queued" if was["attempt"] < was["attempts_max"] else "failed")
    assert 0 <= early <= kept or (clean and early < 0)  # the drain evicts as well
    assert {job.id for job in engine.newest_first(None)} <= set(before)
    totals = engine.totals()
    assert totals.accepted == engine.store.live + engine.store.terminal + totals.evicted


def check_uniqueness(world: World, keys: dict[Any, Any], values: dict[Any, Any]) -> None:
    index = world.engine.uniqueness_index
    held = {job.id: job.live for job in world.engine.newest_first(None)}
    assert index._by_key == {name: found for name, found in keys.items() if found[0] in held}
    assert index._by_value == {name: job_id for name, job_id in values.items() if held.get(job_id)}
