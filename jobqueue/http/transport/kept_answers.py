"""KeptAnswers: the answers to plain submissions, which are sent together once their jobs are kept.

Most submissions of a server with a journal wait for it here. Each has the commit of its iteration of the loop to wait
for, as all others of that iteration: so they need one callback for all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, final

from jobqueue.http.transport.deferred import LATER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.backend.local import LocalBackend
    from jobqueue.core.job import Job
    from jobqueue.core.submit import SubmitResult
    from jobqueue.errors import JournalFailed
    from jobqueue.http.transport.deferred import Answers, Client

    Waiting = tuple[LocalBackend, Client, SubmitResult[Job], bytes, str | None]
    """What `add` gets of one answer."""


@final
class _Committing:
    """Stands for any of these answers, as its connection sees it: the job stays accepted, whatever the client does."""

    def leave(self) -> None: ...

    def drop(self) -> None: ...


_COMMITTING: Final = _Committing()


class KeptAnswers:
    """Answers that are ready, and wait.

    Args:
        answers: Writes those to jobs that can't be kept.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._tell = self._send  # one object, so that all are told together

    def add(
        self, local: LocalBackend, client: Client, submitted: SubmitResult[Job], answer: bytes, limited: str | None
    ) -> bytes:
        """Answer a submission once its job is kept; return LATER.

        Args:
            local: Has accepted the job, and `defers`.
            limited: The caller, if it is limited, so that a rejection tells it the quota.
        """
        local.kept_together(self._tell).append((local, client, submitted, answer, limited))
        client.deferred = _COMMITTING
        return LATER

    def _send(self, waiting: Sequence[Waiting], error: JournalFailed | None) -> None:
        """Send these; or rejections, if the jobs can't be kept. What one raises doesn't reach the others."""
        now = waiting[0][1].time()
        for local, client, submitted, answer, limited in waiting:
            try:
                if error is not None:
                    if not submitted.duplicate:
                        local.withdraw(submitted.job.id)
                    answer = self._answers.refuse(error, False, now, limited)
                if client.deferred is not None:  # else it is lost
                    client.finish(answer, now)
            except Exception as failure:
                context = {"message": "an answer could not be sent", "exception": failure}
                asyncio.get_running_loop().call_exception_handler(context)
