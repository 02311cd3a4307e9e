"""`ctx.recovered`: a handler learns that an earlier server process crashed while it had the job."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from jobqueue import JobContext, JobQueue
from jobqueue.core.job_extras import Extras
from jobqueue.errors import ConfigError, Draining
from jobqueue.wiring import system
from tests.backend.keeping import HeldKeeper

if TYPE_CHECKING:
    from typing import Literal

    from jobqueue.config import Settings
    from jobqueue.surroundings import Surroundings

queue = JobQueue()


@queue.handler
async def on_the_loop(ctx: JobContext) -> list[object]:
    return [ctx.attempt, ctx.recovered]


@queue.handler
def in_a_thread(ctx: JobContext) -> list[object]:
    return [ctx.attempt, ctx.recovered]


@queue.handler(run_in="process")
def in_a_process(ctx: JobContext) -> list[object]:
    return [ctx.attempt, ctx.recovered]


@pytest.mark.parametrize("handler", ["on_the_loop", "in_a_thread", "in_a_process"])
async def test_a_handler_learns_that_its_job_was_recovered(
    handler: Literal["on_the_loop", "in_a_thread", "in_a_process"],
) -> None:
    async with queue:
        first = await (await queue.submit(handler)).wait(timeout_s=30)
        assert first.result == b"[1,false]"
        await queue.pause("default")
        submitted = await queue.submit(handler)
        job = queue.service.local.find(submitted.id)
        assert job is not None
        job.extras = Extras(recovered=1)  # as a restoration after a crash leaves it
        await queue.resume("default")
        second = await submitted.wait(timeout_s=30)
        assert second.result == b"[2,true]"


class BrokenJournal(HeldKeeper):
    def __init__(self) -> None:
        super().__init__(waits=False)

    async def restore(self, spec_of: object, knows_type: object) -> None:
        raise ConfigError("damaged")


async def test_a_queue_is_not_ready_after_a_failed_recovery() -> None:
    broken = JobQueue()

    def surroundings(settings: Settings) -> Surroundings:
        return dataclasses.replace(system(settings), journal=BrokenJournal())

    broken.service.surroundings = surroundings
    with pytest.raises(ConfigError, match="damaged"):
        await broken.start()
    assert broken.service.why_not_ready is not None, "a server may listen for some moments more"
    assert str(broken.service.why_not_ready()) == str(Draining())
    assert not broken.running
    broken.service.surroundings = system
    async with broken:
        assert broken.service.why_not_ready is None
