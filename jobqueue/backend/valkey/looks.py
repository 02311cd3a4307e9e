"""Looks: reads of records from the store, all of a turn of the loop in one call.

Rules:

1. An id that no process of the deployment can have issued is answered without a call (`ids.py`).
2. A record that has ended may be answered from the cache (`cache.py`). What this process changes is dropped there, and
   a read that was on its way meanwhile does not bring it back. What succeeds here is kept as if it had been read.
3. An error of the store is told as such. It never means that there is no job.
4. A record that can't be read is the error of those that asked for it, not of others in the same call.
5. A look at a job waits for a success of it that this process has reported, until the store has answered that: a call
   of its own would be answered no earlier, and an instant job would be asked for once more. So does a look that finds
   the job running here, and its handler ends in its first step. While the store takes no reports, none begins to wait,
   and when the connection is lost, those that wait are sent.
6. The first look at a job that this process is about to lease (`expected.py`) waits for that, `LEASES_MAX` leases at
   most: the store would tell that it is queued.
7. Each look is answered once. What is raised for one is reported, and the others have their answers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jobqueue.backend.valkey.batches import Batches
from jobqueue.backend.valkey.link import fresh
from jobqueue.backend.valkey.records import position_of
from jobqueue.core.ids import Origin
from jobqueue.core.job import RUNNING, Job
from jobqueue.core.job_view import view_of
from jobqueue.errors import JobGone, JobNotFound, shown

if TYPE_CHECKING:
    import asyncio

    from jobqueue.backend.valkey.cache import EndedCache
    from jobqueue.backend.valkey.expected import ExpectedJobs
    from jobqueue.backend.valkey.ids import FleetIds
    from jobqueue.backend.valkey.link import Link
    from jobqueue.backend.valkey.records import Records, Told
    from jobqueue.core.job import JobId
    from jobqueue.core.job_view import JobView

_Answer = TypeVar("_Answer")

_SIZE: Final = 32
"""Bytes of an id on its way."""

LEASES_MAX: Final = 2
"""Leases that a look waits for: the one on its way may have been sent before the submission."""


class Looks:
    """Reads records.

    Args:
        ids: Returns what knows the ids of this deployment.
        note_position: Is told the position of each ready job that is read.
        runs_here: Returns whether this process holds an attempt, given the job's id and its number.
        expected: The jobs that this process is about to lease.
    """

    def __init__(
        self,
        link: Link,
        records: Records,
        cache: EndedCache,
        ids: Callable[[], FleetIds],
        note_position: Callable[[JobId, int | None], None],
        runs_here: Callable[[JobId, int], bool],
        expected: ExpectedJobs,
    ) -> None:
        self._link = link
        self._records = records
        self._cache = cache
        self._ids = ids
        self._note_position = note_position
        self._runs_here = runs_here
        self._expected = expected
        self._batches: Batches[tuple[str, _Reader]] = Batches(link.loop, self._send, self._fail)
        # Of the ids whose reads are on their way: how many, and those that were changed since.
        self._on_way: dict[str, int] = {}
        self._changed: set[str] = set()
        # The jobs with a success on its way, and the looks that wait for them; None: there are none yet.
        self._succeeding: dict[str, list[_Looker] | None] = {}

    def look(self, job_id: str, owner: str | None, done: Callable[[JobView | Exception], None]) -> None:
        """Read a record: `done` is given what `Backend.get` returns or raises, maybe within this call."""
        kept = self._cache.get(job_id)
        if kept is not None:
            done(kept if owner is None or kept.owner == owner else _never(job_id))
        elif self._ids().may_exist(job_id, owner):
            self._go_on(_Looker(done, job_id, owner, self._ids), LEASES_MAX)
        else:
            done(missing(job_id, self._ids().origin(job_id, owner)))

    def read(self, job_id: str, done: Callable[[Job | Exception | None], None]) -> None:
        """Read a record as it is in the store: `done` is given it, None if there is none, or the error."""
        self._batches.add("", (job_id, done), _SIZE)

    def dropped(self, job_id: str) -> None:
        """A record has been changed by this process."""
        self._cache.drop(job_id)
        if job_id in self._on_way:
            self._changed.add(job_id)

    def succeeding(self, job_id: str) -> None:
        """The success of a job is about to be sent; `answered` follows."""
        self._succeeding.setdefault(job_id, None)

    def succeeded(self, job: Job) -> None:
        """This process has just ended a job: keep its record as a read would find it now."""
        if job.extras is None:  # else the store may hold less of its history
            view = view_of(job)
            self._cache.keep(view)
            for looker in self._succeeding.pop(job.id, None) or ():
                self._answer(looker.see, view)

    def answered(self, job_id: str) -> None:
        """The store has answered a success, or it was not sent: looks that still wait are sent."""
        for looker in self._succeeding.pop(job_id, None) or ():
            self._batches.add("", (job_id, looker), _SIZE)

    def disconnected(self) -> None:
        """The store doesn't answer: looks that wait for a success are sent, so that they fail when others do."""
        waiting = [looker for lookers in self._succeeding.values() for looker in lookers or ()]
        self._succeeding = dict.fromkeys(self._succeeding)
        for looker in waiting:
            self._batches.add("", (looker.job_id, looker), _SIZE)

    def _go_on(self, looker: _Looker, leases: int) -> None:
        """Have a look wait for what is about to be known here, or send it. Args: leases: That it may wait for."""
        job_id = looker.job_id
        if job_id in self._succeeding and self._wait(job_id, looker):
            return
        if job_id in self._expected:
            if leases and self._link.calls.state()[0] is None:
                self._expected.wait(partial(self._go_on, looker, leases - 1))
                return
            self._expected.discard(job_id)
        if (kept := self._cache.get(job_id)) is not None:  # it may have ended meanwhile
            self._answer(looker.see, kept)
        else:
            self._batches.add("", (job_id, looker), _SIZE)

    def _answer(self, tell: Callable[[_Answer], None], found: _Answer) -> None:
        """Answer a look; report what this raises."""
        try:
            tell(found)
        except Exception as error:
            self._link.report(error)

    def _wait(self, job_id: str, looker: _Looker) -> bool:
        """Have a look wait for a success on its way; return False if the store takes none now."""
        if self._link.calls.state()[0] is not None:
            return False
        waiting = self._succeeding[job_id]
        if waiting is None:
            self._succeeding[job_id] = [looker]
        else:
            waiting.append(looker)
        return True

    def _send(self, key: object, items: list[tuple[str, _Reader]]) -> asyncio.Future[Any]:
        waiting: dict[str, list[_Reader]] = {}
        for job_id, done in items:
            waiting.setdefault(job_id, []).append(done)
        return self._ask(list(waiting), waiting)

    def _ask(self, job_ids: list[str], waiting: dict[str, list[_Reader]]) -> asyncio.Future[Any]:
        on_way = self._on_way
        for job_id in job_ids:
            on_way[job_id] = on_way.get(job_id, 0) + 1

        def then(told: list[Any] | None, error: Exception | None) -> None:
            found = [] if told is None else told[1:]
            begun: list[tuple[JobView, _Looker]] = []
            for job_id, record in zip(job_ids, found, strict=False):
                self._tell(job_id, record, waiting[job_id], begun)
            if begun:  # a worker that was woken in this turn takes its first steps before
                self._link.loop.call_soon(self._tell_begun, begun)
            for job_id in job_ids:
                self._landed(job_id)
            rest = job_ids[len(found) :]
            if found and rest:
                self._ask(rest, waiting)  # the reply would have been too long
                return
            for job_id in rest:
                for done in waiting[job_id]:
                    self._answer(done, fresh(error) if error is not None else RuntimeError("no reply to a look"))

        return self._link.send("look", [1, *job_ids], then)

    def _tell(
        self, job_id: str, found: Told | None, waiting: list[_Reader], begun: list[tuple[JobView, _Looker]]
    ) -> None:
        if found is None:
            for done in waiting:
                self._answer(done, None)
            return
        try:
            view = self._records.view(job_id, found)
            if view.finished_at is None:
                self._note_position(view.id, position_of(found))
            elif job_id not in self._changed:
                self._cache.keep(view)
        except Exception as error:
            self._link.report(error)
            for done in waiting:
                self._answer(done, fresh(error))
            return
        runs_here = view.state is RUNNING and self._runs_here(view.id, view.attempt)
        for done in waiting:
            if type(done) is not _Looker:
                self._answer(done, self._job(job_id, found))
            elif runs_here:
                begun.append((view, done))
            else:
                self._answer(done.see, view)

    def _tell_begun(self, begun: list[tuple[JobView, _Looker]]) -> None:
        """Tell of jobs that run here, unless they have succeeded since."""
        for view, looker in begun:
            if view.id not in self._succeeding or not self._wait(view.id, looker):
                self._answer(looker.see, self._cache.get(view.id) or view)

    def _job(self, job_id: str, found: Told) -> Job | Exception:
        try:
            return self._records.job(job_id, found)
        except Exception as error:
            self._link.report(error)
            return error

    def _fail(self, item: tuple[str, _Reader], error: Exception) -> None:
        self._answer(item[1], fresh(error))

    def _landed(self, job_id: str) -> None:
        left = self._on_way.pop(job_id) - 1
        if left:
            self._on_way[job_id] = left
        else:
            self._changed.discard(job_id)


class _Looker:
    """A look on its way. `done` is given the view, or the error."""

    __slots__ = ("_done", "_ids", "_owner", "job_id")

    def __init__(
        self,
        done: Callable[[JobView | Exception], None],
        job_id: str,
        owner: str | None,
        ids: Callable[[], FleetIds],
    ) -> None:
        self._done, self.job_id, self._owner, self._ids = done, job_id, owner, ids

    def see(self, view: JobView) -> None:
        """Pass on the record, to its owner."""
        self._done(view if self._owner is None or view.owner == self._owner else _never(self.job_id))

    def __call__(self, other: Job | Exception | None) -> None:
        """Pass on that there is none, or the error."""
        if isinstance(other, Exception):
            self._done(other)
        else:
            self._done(missing(self.job_id, self._ids().origin(self.job_id, self._owner)))


_Reader = Callable[[Job | Exception | None], None]


def missing(job_id: str, origin: Origin) -> JobNotFound | JobGone:
    """Return why no record has this id."""
    if origin is Origin.NEVER:
        return _never(job_id)
    return JobGone("evicted" if origin is Origin.THIS_RUN else "earlier-run")


def _never(job_id: str) -> JobNotFound:
    return JobNotFound(f"no job was ever created with the id {shown(job_id)!r}")
