"""The table of bad input: each row gets its one right answer, on both paths, and changes no state.

A row is sent in four ways: over a fresh connection or one that was kept, as a whole or byte by byte. `make test` sends
each in two of them, which have all that differs; `make test-fast-path` in all.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobqueue.core.job_filter import JobFilter
from tests.http.bad_input import table
from tests.http.bad_input.conversation import talk
from tests.http.bad_input.row import Row
from tests.http.serving import Serving, in_a_loop_of_its_own

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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

    def __init__(self, runner: asyncio.Runner, serving: Serving, errors: list[logging.LogRecord], key: str) -> None:
        self.runner = runner
        self.serving = serving
        self.errors = errors
        self._key = key
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

    def answers(self, rows: list[Row], *, kept: bool, bytewise: bool) -> list[str]:
        """Send every row over a connection of its own; compare answers, state and log; return the faults."""
        queue = self._queue()
        names = {**self.jobs, b"{TIME}": b"%05d" % (2 * kept + bytewise)}
        faults = self.runner.run(self._all(rows, names, kept=kept, bytewise=bytewise))
        faults += self._changes(sum(row.jobs for row in rows), queue)
        way = f"{'kept' if kept else 'fresh'}, {'byte by byte' if bytewise else 'whole'}"
        return [f"{way}: {fault}" for fault in faults]

    async def _all(self, rows: list[Row], names: dict[bytes, bytes], *, kept: bool, bytewise: bool) -> list[str]:
        few = asyncio.Semaphore(AT_ONCE)

        async def one(row: Row) -> str | None:
            async with few:
                try:
                    await talk(self.serving, row, names, kept=kept, bytewise=bytewise, key=self._key)
                except AssertionError as fault:
                    return f"{row.name}: {fault}"
            return None

        return [fault for fault in await asyncio.gather(*map(one, rows)) if fault is not None]

    def _changes(self, accepted: int, queue: tuple[object, ...]) -> list[str]:
        """Return the changes of the state beside the jobs that all rows together submit, and the logged errors."""
        before, self.before = self.before, self.runner.run(self._settled())
        added = [job for job_id, job in self.before.items() if job_id not in before]
        faults = [f"a smuggled job: {job.id}" for job in added if job.spec.group == "smuggled"]
        if len(added) != accepted:
            faults.append(f"{len(added)} jobs were accepted, not {accepted}")
        faults += [f"a job has changed: {job}" for job_id, job in before.items() if self.before.get(job_id) != job]
        if self._queue() != queue:
            faults.append(f"the queue has changed: {queue}, {self._queue()}")
        faults += [f"logged: {record.getMessage()}" for record in self.errors]
        return faults

    async def _settled(self) -> dict[str, JobView]:
        """Wait until the added jobs have ended and the connections and uploads are gone; return all jobs."""
        statuses = self.serving.service.backend.stats
        async with asyncio.timeout(20):
            while statuses()[0].live > 2 or self.serving.server.open:
                await asyncio.sleep(0.01)
            views = await self._views()
            kept = {Path(job.upload.folder) for job in views.values() if job.upload is not None}
            while not kept.issuperset(self.serving.spool_dir.glob("run-*/*")):
                await asyncio.sleep(0.01)
        return views


@pytest.fixture(params=["fast", "stock"])
def victim(request: pytest.FixtureRequest, group: str, tmp_path: Path) -> Iterator[Victim]:
    settings: dict[str, dict[str, object]] = {
        "limits": {**LIMITS, **getattr(GROUPS[group], "LIMITS", {})},
        "server": {"hosts": ["h"], "fast_path": request.param == "fast"},
        **getattr(GROUPS[group], "SETTINGS", {}),
    }
    serving = Serving(tmp_path, settings)
    with in_a_loop_of_its_own(serving) as (runner, errors):
        yield Victim(runner, serving, errors, getattr(GROUPS[group], "KEY", ""))


def faults_of(victim: Victim, rows: list[Row], ways: Iterable[tuple[bool, bool]]) -> list[str]:
    return [fault for kept, bytewise in ways for fault in victim.answers(rows, kept=kept, bytewise=bytewise)]


@pytest.mark.parametrize("group", GROUPS)
def test_each_row_gets_its_answer_and_changes_no_state(victim: Victim, group: str) -> None:
    rows = rows_of(group)
    faults = faults_of(victim, rows[::2], [(False, False), (True, True)])
    faults += faults_of(victim, rows[1::2], [(True, False), (False, True)])
    assert not faults, "\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_each_row_gets_its_answer_in_every_way(victim: Victim, group: str) -> None:
    faults = faults_of(victim, rows_of(group), itertools.product((False, True), (False, True)))
    assert not faults, "\n".join(faults)


def test_each_row_has_a_name_of_its_own() -> None:
    names = [f"{group}: {row.name}" for group in GROUPS for row in rows_of(group)]
    assert sorted(set(names)) == sorted(names)
    assert len(names) >= 1000
