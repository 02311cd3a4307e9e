"""The table of bad input: each row gets its one right answer, in four ways, on both paths, and changes no state."""

from __future__ import annotations

import asyncio
import importlib
import logging
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from jobqueue.backend.base import JobFilter
from tests.http.bad_input import table
from tests.http.bad_input.conversation import talk
from tests.http.bad_input.row import Row
from tests.http.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.core.job_view import JobView

GROUPS = {
    module.name: importlib.import_module(f"{table.__name__}.{module.name}")
    for module in pkgutil.iter_modules(table.__path__)
}
LIMITS: dict[str, object] = {"body_bytes": 2048, "header_bytes": 1024, "files": 2, "files_bytes": 2048}
AT_ONCE = 50


def rows_of(group: str) -> list[Row]:
    rows: list[Row] = GROUPS[group].ROWS
    return rows


class Victim:
    """A server in a loop of its own, the jobs that it holds, and the errors that it logged."""

    def __init__(self, runner: asyncio.Runner, serving: Serving, errors: list[logging.LogRecord]) -> None:
        self.runner = runner
        self.serving = serving
        self.errors = errors
        self.jobs: dict[bytes, bytes] = runner.run(self._prepared())
        self.before = runner.run(self._views())

    async def _prepared(self) -> dict[bytes, bytes]:
        """Submit a job of each kind; return their ids by placeholder."""
        queue = self.serving.queue
        done, failed, gone = [await queue.submit(type, ttl_s=3600) for type in ("echo", "fail", "echo")]
        for handle in (done, failed, gone):
            await handle.wait()
        await self.serving.service.backend.delete(gone.id)
        held, later = await queue.submit("hold"), await queue.submit("echo", delay_s=3600)
        while (await held.status()).state != "running":
            await asyncio.sleep(0)
        named = {b"{DONE}": done, b"{FAILED}": failed, b"{GONE}": gone, b"{HELD}": held, b"{LATER}": later}
        return {name: handle.id.encode() for name, handle in named.items()}

    async def _views(self) -> dict[str, JobView]:
        page = await self.serving.service.backend.page(JobFilter(), limit=10_000, cursor=None)
        return {job.id: job for job in page.jobs}

    def _queue(self) -> tuple[object, ...]:
        (queue,) = self.serving.service.backend.stats()[1]
        return queue.policy, queue.paused, queue.delayed, queue.running, queue.cancelled_total, queue.retried_total

    def answers(self, rows: list[Row], *, kept: bool, bytewise: bool) -> None:
        """Send every row over a connection of its own, and compare: answers, state, log, and the life after."""
        queue = self._queue()
        faults = self.runner.run(self._all(rows, kept=kept, bytewise=bytewise))
        assert not faults, "\n".join(faults)
        self._is_unchanged(sum(row.jobs for row in rows), queue)
        assert not self.errors, self.errors

    async def _all(self, rows: list[Row], *, kept: bool, bytewise: bool) -> list[str]:
        few = asyncio.Semaphore(AT_ONCE)

        async def one(row: Row) -> str | None:
            async with few:
                try:
                    await talk(self.serving, row, self.jobs, kept=kept, bytewise=bytewise)
                except (AssertionError, OSError, asyncio.IncompleteReadError) as fault:
                    return f"{row.name}: {fault!r}"
            return None

        return [fault for fault in await asyncio.gather(*map(one, rows)) if fault is not None]

    def _is_unchanged(self, accepted: int, queue: tuple[object, ...]) -> None:
        """Check that all rows together added the jobs that they tell of, and touched nothing else."""
        after = self.runner.run(self._settled())
        added = [job for job_id, job in after.items() if job_id not in self.before]
        assert len(added) == accepted, [(job.spec.type, job.args[:80]) for job in added]
        assert {job_id: after.get(job_id) for job_id in self.before} == self.before
        assert self._queue() == queue
        assert files_in(self.serving.spool_dir) == []
        self.before = after

    async def _settled(self) -> dict[str, JobView]:
        """Wait until the added jobs have ended and the connections and uploads are gone; return all jobs."""
        statuses = self.serving.service.backend.stats
        async with asyncio.timeout(20):
            while statuses()[0].live > 2 or self.serving.server.open or files_in(self.serving.spool_dir):
                await asyncio.sleep(0.01)
        return await self._views()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


class Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(params=[(group, path) for group in GROUPS for path in ("fast", "stock")], scope="module", ids="-".join)
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Victim, str]]:
    group, path = request.param
    settings: dict[str, Any] = {
        "limits": {**LIMITS, **getattr(GROUPS[group], "LIMITS", {})},
        "server": {"hosts": ["h"], "fast_path": path == "fast"},
    }
    serving = Serving(tmp_path_factory.mktemp("spool"), settings)
    errors = Errors()
    logging.getLogger().addHandler(errors)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving.start())
        yield Victim(runner, serving, errors.records), group
        runner.run(serving.stop())
    logging.getLogger().removeHandler(errors)


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
def test_each_row_gets_its_answer_and_changes_no_state(victim: tuple[Victim, str], kept: bool, bytewise: bool) -> None:
    server, group = victim
    server.answers(rows_of(group), kept=kept, bytewise=bytewise)


def test_the_table_has_rows_enough_and_each_has_a_name_of_its_own() -> None:
    names = [f"{group}: {row.name}" for group in GROUPS for row in rows_of(group)]
    assert len(names) == len(set(names))
    assert len(names) >= 100
