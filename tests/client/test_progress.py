"""Progress while a client waits: `on_progress` of `submit`, `run` and `wait`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import errors
from jobqueue.client import Client, SyncClient
from jobqueue.core.job import JobState
from tests.client.calling import answer, document, scripted

if TYPE_CHECKING:
    from jobqueue.client import JobDocument
    from tests.client.calling import Call
    from tests.http.serving import Serving


class Progress:
    """Collects the documents that `on_progress` is called with, and opens the gate at a job's note."""

    def __init__(self, serving: Serving) -> None:
        self.seen: list[tuple[str, str | None]] = []
        self._loop = asyncio.get_running_loop()
        self._gate = serving.gate

    def __call__(self, job: JobDocument) -> None:
        note = job.progress.note if job.progress else None
        self.seen.append((job.state, note))
        if note is not None:
            self._loop.call_soon_threadsafe(self._gate.set)


async def test_run_tells_the_progress_of_its_job(call: Call, serving: Serving) -> None:
    progress = Progress(serving)

    assert await call("run", "hold", {"note": "halfway"}, on_progress=progress) == "held"

    assert progress.seen[-1] == (JobState.RUNNING, "halfway")
    assert len(set(progress.seen)) == len(progress.seen)


async def test_submit_tells_the_progress_until_its_wait_is_over(call: Call, serving: Serving) -> None:
    progress = Progress(serving)

    job = await call("submit", "hold", {"note": "halfway"}, wait_s=20, on_progress=progress)

    assert (job.state, job.result) == (JobState.SUCCEEDED, "held")
    assert progress.seen[-1] == (JobState.RUNNING, "halfway")


async def test_wait_tells_the_progress_of_a_job_that_runs_already(call: Call, serving: Serving) -> None:
    job = await call("submit", "hold", {"note": "halfway"})
    progress = Progress(serving)

    job = await call("wait", job.id, timeout_s=20, on_progress=progress)

    assert job.result == "held"
    assert progress.seen[-1] == (JobState.RUNNING, "halfway")


async def test_the_asynchronous_client_awaits_on_progress(serving: Serving) -> None:
    seen: list[str] = []

    async def on_progress(job: JobDocument) -> None:
        await asyncio.sleep(0)
        seen.append(job.state)
        serving.gate.set()

    async with Client(serving.url) as client:
        assert await client.run("hold", on_progress=on_progress) == "held"
    assert seen


async def test_on_progress_may_end_the_wait_by_an_exception(call: Call) -> None:
    def stop(job: JobDocument) -> None:
        raise TimeoutError("enough")

    job = await call("submit", "hold")
    with pytest.raises(TimeoutError, match=r"^enough$"):
        await call("wait", job.id, on_progress=stop)
    assert await call("cancel", job.id)


async def test_a_blocking_client_rejects_a_coroutine_as_on_progress(serving: Serving) -> None:
    async def on_progress(job: JobDocument) -> None: ...

    with pytest.raises(TypeError, match="on_progress of a SyncClient must be a plain function"):
        await asyncio.to_thread(SyncClient(serving.url).run, "hold", on_progress=on_progress)


async def test_on_progress_without_a_wait_is_an_error(call: Call) -> None:
    with pytest.raises(ValueError, match="on_progress needs wait_s"):
        await call("submit", "hold", on_progress=print)
    with pytest.raises(TypeError, match="on_progress must be a function, not int"):
        await call("run", "hold", on_progress=1)


async def test_jobs_that_end_at_once_tell_no_progress(call: Call) -> None:
    job = await call("submit", "echo", {"value": 1})
    await call("wait", job.id)
    seen: list[Any] = []

    assert (await call("wait", job.id, on_progress=seen.append)).result == 1
    assert seen == []


async def test_a_server_that_reports_news_without_end_is_asked_ten_times_a_second(kind: str) -> None:
    news = [
        answer(
            200,
            {"jobs": [document("running", progress={"fraction": n / 10, "note": None})]},
            ETag=f'W/"{n}"',
            Preference_Applied="wait=25",
        )
        for n in range(5)
    ]
    over = answer(200, {"jobs": [document("succeeded", result=5)]})
    seen: list[float] = []
    async with scripted(kind, *news, over) as (call, script):
        job = await call("wait", "j", on_progress=lambda job: seen.append(job.progress.fraction))

    assert job.result == 5
    assert seen == [0, 0.1, 0.2, 0.3, 0.4]
    assert set(script.requests) == {"GET /v1/jobs?ids=j"}
    assert script.header("prefer") == [None, *["wait=25"] * 5]
    pauses = [after - before for before, after in zip(script.times, script.times[1:], strict=False)]
    assert all(pause_s >= 0.09 for pause_s in pauses[1:])  # the first read is followed by a long poll at once


@pytest.mark.parametrize("ids", [[], ["j", "k"], ["k"]])
async def test_a_list_of_other_jobs_ends_a_watched_wait(kind: str, ids: list[str]) -> None:
    jobs = [document("running", id=id) for id in ids]
    async with scripted(kind, answer(200, {"jobs": jobs})) as (call, _):
        with pytest.raises(Exception, match="instead of the one that was asked for"):
            await call("wait", "j", on_progress=print)


async def test_a_watched_wait_for_an_unknown_job_raises_not_found(call: Call) -> None:
    with pytest.raises(errors.JobNotFound):
        await call("wait", "x" * 22, on_progress=print)
