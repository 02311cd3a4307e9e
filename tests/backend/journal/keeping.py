"""A backend with a journal on a disk in memory, and what a process after it finds."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import Executor, Future
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal, ParamSpec
from unittest import mock

from jobqueue import testing
from jobqueue.backend.journal import snapshotting
from jobqueue.backend.journal.disk_thread import RunsCalls
from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.backend.journal.journal import Journal
from jobqueue.backend.journaled import JournaledBackend
from jobqueue.config import JournalSettings
from jobqueue.core.engine import Engine
from jobqueue.core.ids import IdIssuer
from jobqueue.core.policy import QueuePolicy
from tests.backend.journal.faulty_disk import FaultyDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from jobqueue.core.job import JobSpec

P = ParamSpec("P")

FOLDER = Path("/journal")
SEGMENT_BYTES = 64 * 1024
WALL_S = 1.8e9
"""Unix seconds at zero of the engine's clock."""


_begun: list[JournaledBackend] = []


class AtOnce(RunsCalls):
    """Runs calls of the disk within the call that submits them."""

    oldest_at = None

    def submit(self, call: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        try:
            result = call()
        except Exception as error:
            done(None, error)
        else:
            done(result, None)

    async def close(self) -> None:
        pass


class InlineExecutor(Executor):
    """Runs each call within `submit`, since virtual time doesn't wait for a thread."""

    def __init__(self, *args: Any, **given: Any) -> None: ...

    def submit(self, call: Callable[..., Any], /, *args: Any, **given: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args, **given))
        except Exception as error:
            future.set_exception(error)
        return future


def kept_backend(
    disk: FaultyDisk,
    *,
    queues: dict[str, QueuePolicy] | None = None,
    sync: Literal["always", "interval"] = "always",
    unknown: Literal["refuse", "fail"] = "refuse",
    segment_bytes: int = SEGMENT_BYTES,
    bytes_max: int = 4 * 2**30,
    thread: Any = None,
    offset_s: Callable[[], float] = lambda: WALL_S,
    **engine: Any,
) -> tuple[JournaledBackend, Journal]:
    """Make a backend on a disk; its journal is to be restored before anything else."""
    now = asyncio.get_running_loop().time
    folder = JournalFolder.open(FOLDER, disk)
    ids = IdIssuer(secret=folder.secret, run=folder.run)
    made = Engine(queues=queues or {"default": QueuePolicy()}, ids=ids, rng=Random(1), **engine)
    settings = JournalSettings(dir=str(FOLDER), sync=sync, unknown=unknown, bytes_max=bytes_max)
    journal = Journal(
        folder, settings, ids=ids, now=now, offset_s=offset_s, segment_bytes=segment_bytes, thread=thread or AtOnce()
    )
    return JournaledBackend(made, journal, now=now), journal


def spec_of(spec: JobSpec) -> JobSpec:
    return spec


def at_once(operation: Coroutine[Any, Any, Any]) -> Any:
    """Run an operation that waits for nothing but its turn."""
    while True:
        try:
            operation.send(None)
        except StopIteration as end:
            return end.value


async def begun(disk: FaultyDisk, **given: Any) -> tuple[JournaledBackend, Journal]:
    """Make a backend, and bring back what is on the disk."""
    knows_type = given.pop("knows_type", lambda job_type: True)
    backend, journal = kept_backend(disk, **given)
    try:
        await journal.restore(spec_of, knows_type)
        await journal.record()
    except BaseException:
        await backend.stop()
        journal.unlock()
        raise
    _begun.append(backend)
    return backend, journal


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """As that of `jobqueue.testing`, with snapshots that are written at once; at the end all backends that have `begun`
    are stopped.

    Those whose crash is only made up are, too: their snapshots would go on beside the end of the loop.
    """

    @testing.virtual_time
    @functools.wraps(test)
    async def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with mock.patch.object(snapshotting, "ThreadPoolExecutor", InlineExecutor):
            try:
                await test(*args, **kwargs)
            finally:
                while _begun:
                    await _begun.pop().stop()

    return run
