"""Calls on schedules, by both clients."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from jobqueue.errors import InvalidSubmission, ScheduleNotFound

if TYPE_CHECKING:
    from tests.client.calling import Call


async def test_a_schedule_is_put_read_run_paused_and_deleted(call: Call) -> None:
    put = await call("put_schedule", "mine", "echo", {"value": 3}, every_s=timedelta(hours=1), overlap="queue")
    assert (put["every_s"], put["overlap"], put["args"]) == (3600, "queue", {"value": 3})
    assert [each["name"] for each in await call("schedules")] == ["mine"]
    assert len((await call("schedule", "mine"))["next_runs"]) == 5
    job = await call("run_schedule", "mine")
    assert (await call("wait", job.id, 5)).result == 3
    assert (await call("pause_schedule", "mine"))["pause"] is not None
    assert (await call("resume_schedule", "mine"))["pause"] is None
    await call("delete_schedule", "mine")
    assert await call("schedules") == ()


async def test_faults_of_schedules_raise_their_errors(call: Call) -> None:
    with pytest.raises(InvalidSubmission, match="/cron: it never comes"):
        await call("put_schedule", "mine", "echo", cron="0 0 30 2 *")
    for name in ("schedule", "delete_schedule", "run_schedule", "pause_schedule", "resume_schedule"):
        with pytest.raises(ScheduleNotFound):
            await call(name, "nope")


async def test_all_pages_of_schedules_are_read(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.client.schedules._PAGE", 2)
    for name in ("a", "b", "c", "d", "e"):
        await call("put_schedule", name, "echo", every_s=60)
    assert [each["name"] for each in await call("schedules")] == ["a", "b", "c", "d", "e"]
