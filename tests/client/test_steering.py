"""Control of jobs and queues by the Python clients, against the real server."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from jobqueue import errors
from jobqueue.client import ErrorAnswer
from jobqueue.core.job import JobState

if TYPE_CHECKING:
    from tests.client.calling import Call
    from tests.http.serving import Serving


async def test_retry_runs_a_failed_job_again_and_extends_its_history(call: Call) -> None:
    job = await call("submit", "fail", wait_s=10)
    assert [attempt.code for attempt in job.history] == ["handler_error"]
    assert "it can't be done" in job.history[0].message

    again = await call("retry", job.id)
    assert again.id == job.id
    job = await call("wait", job.id, timeout_s=10)

    assert (job.state, job.attempt, len(job.history)) == (JobState.FAILED, 2, 2)


async def test_retry_of_a_succeeded_job_raises_wrong_state(call: Call) -> None:
    job = await call("submit", "echo", wait_s=10)
    with pytest.raises(errors.WrongState) as raised:
        await call("retry", job.id)
    assert raised.value.state == "succeeded"


async def test_run_now_runs_a_delayed_job(call: Call) -> None:
    job = await call("submit", "echo", {"value": 3}, delay_s=3600)
    assert job.state is JobState.DELAYED

    await call("run_now", job.id)

    assert (await call("wait", job.id, timeout_s=10)).result == 3
    with pytest.raises(errors.WrongState):
        await call("run_now", job.id)


async def test_bulk_actions_apply_to_all_jobs_that_match_a_filter(call: Call) -> None:
    for group in ("a", "a", "b"):
        await call("submit", "fail", group=group, wait_s=10)
    held = [(await call("submit", "hold", group="h")).id for _ in range(2)]

    assert (await call("retry_all", type="fail", group="a")).count == 2
    assert (await call("cancel_all", group="h", state="running")).count == 2
    for id in held:
        assert (await call("wait", id, timeout_s=10)).state is JobState.CANCELLED
    assert (await call("delete_all", state="cancelled", older_than_s=0)).count == 2
    later = (await call("submit", "echo", {"value": 1}, delay_s=3600, group="later")).id
    assert (await call("run_all_now", group="later")).count == 1
    assert (await call("wait", later, timeout_s=10)).result == 1
    with pytest.raises(errors.JobGone):
        await call("get", held[0])


async def test_an_empty_filter_raises_invalid_submission(call: Call) -> None:
    with pytest.raises(errors.InvalidSubmission, match="an empty filter"):
        await call("delete_all")


async def test_pause_holds_jobs_until_resume(call: Call) -> None:
    assert (await call("pause", "default"))["paused"] is True
    job = await call("submit", "echo", {"value": 1}, wait_s=0.3)
    assert job.state is JobState.QUEUED

    assert (await call("resume", "default"))["paused"] is False
    assert (await call("wait", job.id, timeout_s=10)).result == 1


async def test_a_pause_has_a_reason_and_an_end(call: Call) -> None:
    pause = (await call("pause", "default", reason="deploy", for_s=timedelta(minutes=10)))["pause"]
    assert pause["reason"] == "deploy"
    assert datetime.fromisoformat(pause["until"]) > datetime.fromisoformat(pause["since"])
    assert (await call("pause", "default"))["pause"]["reason"] is None
    with pytest.raises(errors.InvalidSubmission) as raised:
        await call("pause", "default", for_s=0)
    assert [fault.pointer for fault in raised.value.errors] == ["/for_s"]
    await call("resume", "default")


async def test_simulate_queue_returns_a_forecast(call: Call, serving: Serving) -> None:
    question = {"arrivals_per_s": 1.0, "run_s": 1.0, "seconds": 1.0, "loads": [1.0], "alternatives": [{"workers": 2}]}
    forecast = await call("simulate_queue", "default", **question)
    assert forecast["alternatives"][1]["settings"]["workers"] == 2
    with pytest.raises(ErrorAnswer) as raised:
        await call("simulate_queue", "default")
    assert raised.value.status == 409
    with pytest.raises(errors.InvalidSubmission):
        await call("simulate_queue", "default", loads=[])


async def test_change_queue_changes_a_busy_queue(call: Call, serving: Serving) -> None:
    job = await call("submit", "hold")

    queue = await call("change_queue", "default", workers=2, capacity=7, discipline="lifo")

    assert (queue["workers"], queue["capacity"], queue["discipline"]) == (2, 7, "lifo")
    assert (await call("queues"))[0]["capacity"] == 7
    asyncio.get_running_loop().call_later(0.1, serving.gate.set)
    assert (await call("wait", job.id, timeout_s=10)).result == "held"


async def test_an_invalid_change_raises_an_error_with_its_pointer(call: Call) -> None:
    with pytest.raises(errors.InvalidSubmission) as raised:
        await call("change_queue", "default", capacity=0)
    assert [fault.pointer for fault in raised.value.errors] == ["/capacity"]


async def test_operations_on_an_unknown_queue_raise_404(call: Call) -> None:
    for method in ("pause", "resume", "change_queue"):
        with pytest.raises(ErrorAnswer, match="there is no queue 'a/b'") as raised:
            await call(method, "a/b")
        assert raised.value.status == 404
