"""IdOrder: ids in their order, which is that of their issue, so that a listing can resume at any of them.

Rules:

1. The ids stand in runs of at most `RUN_MAX`; a change moves those of one run, a reading begins by two bisections.
2. Most ids are added at the end, and removed near the beginning.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jobqueue.core.job_id import JobId

RUN_MAX: Final = 512


class IdOrder:
    """Ids in order, each once."""

    def __init__(self) -> None:
        self._runs: list[list[JobId]] = []
        self._firsts: list[JobId] = []  # by run: those of earlier runs sort before it, those of this one do not

    def add(self, id: JobId) -> None:
        """Add an id that is not there."""
        at = self._run_of(id)
        if at < 0:
            if self._runs and len(self._runs[0]) < RUN_MAX:
                self._runs[0].insert(0, id)
                self._firsts[0] = id
            else:
                self._runs.insert(0, [id])
                self._firsts.insert(0, id)
            return
        run = self._runs[at]
        if len(run) < RUN_MAX:
            insort(run, id)
        elif at == len(self._runs) - 1 and id > run[-1]:
            self._runs.append([id])
            self._firsts.append(id)
        else:
            upper = run[RUN_MAX // 2 :]
            del run[RUN_MAX // 2 :]
            self._runs.insert(at + 1, upper)
            self._firsts.insert(at + 1, upper[0])
            insort(run if id < upper[0] else upper, id)

    def remove(self, id: JobId) -> None:
        """Remove an id that is there."""
        at = self._run_of(id)
        run = self._runs[at]
        del run[bisect_left(run, id)]
        if not run:
            del self._runs[at]
            del self._firsts[at]

    def before(self, text: str | None, limit: int) -> list[JobId]:
        """Return up to `limit` ids, the latest first, that sort before a text; None: the latest of all."""
        at = len(self._runs) - 1 if text is None else bisect_left(self._firsts, text) - 1
        if at < 0:
            return []
        run = self._runs[at]
        end = len(run) if text is None else bisect_left(run, text)
        found: list[JobId] = run[max(0, end - limit) : end]
        while len(found) < limit and at > 0:
            at -= 1
            found[:0] = self._runs[at][-(limit - len(found)) :]
        found.reverse()
        return found

    def _run_of(self, id: JobId) -> int:
        """Return the index of the run in which an id is, or belongs; -1: before the first one."""
        return bisect_right(self._firsts, id) - 1
