"""Waits for a job's end: the next request, without the I/O.

Rules:

1. A wait is a long poll of the job. While its progress is watched, it is one of a list of this job alone, which is
   answered at each change; the first such request doesn't wait.
2. A long poll that ended early, or was not granted, is repeated after the suggested interval, one that brought news
   after `PAUSE_S_MIN`.
3. A long poll that a proxy cut off is repeated at half its length.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from jobqueue import errors
from jobqueue.client.documents import document, job_path, list_path, one_of_list
from jobqueue.client.prefer import SLACK_S, waited_out
from jobqueue.client.protocol import PAUSE_S, Answer, NoAnswer, Patience, Request, Steps
from jobqueue.client.retry_after import PAUSE_S_MIN, pause_s_of

if TYPE_CHECKING:
    from jobqueue.client.hooks import Watch
    from jobqueue.client.models import JobDocument

WAIT_S_MAX = 25  # asked for in one request: well under the 30 to 60 s after which proxies and balancers give up


def wait(id: str, timeout_s: float | None, retry_for_s: float, watch: Watch | None) -> Steps[JobDocument]:
    job = yield from until_over(id, timeout_s, retry_for_s, watch=watch)
    if job is None or not job.over:
        raise TimeoutError(f"job {id} is still {job.state if job else 'unread'} after {timeout_s:g} s")
    return job


def until_over(
    id: str,
    timeout_s: float | None,
    retry_for_s: float,
    known: JobDocument | None = None,
    watch: Watch | None = None,
) -> Steps[JobDocument | None]:
    """Wait for a job's end; return its newest document, terminal or not, and None if it could not be read in time.

    Args:
        retry_for_s: How long to try while the server does not answer.
        known: The latest document, if any.
        watch: Sees each document of the live job.
    """
    waiting = _Wait(id, timeout_s, retry_for_s, known, watch)
    while not waiting.finished:
        try:
            answer = yield waiting.request()
        except NoAnswer as failure:
            waiting.unanswered(failure)
        else:
            waiting.answered(answer)
    return waiting.job


class _Wait:
    """The state of one wait.

    Attributes:
        job: The latest document.
        finished: The job is terminal, or the time is over.
    """

    def __init__(
        self, id: str, timeout_s: float | None, retry_for_s: float, known: JobDocument | None, watch: Watch | None
    ) -> None:
        self.job = known
        self.finished = False
        self._id = id
        self._retry_for_s = retry_for_s
        self._watch = watch
        self._give_up_at = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        self._asked_at = 0.0
        self._etag = ""
        self._after_s = 0.0
        self._pause_s = PAUSE_S
        self._wait_s_max = WAIT_S_MAX
        self._patience: Patience | None = None

    def request(self) -> Request:
        left_s = self._give_up_at - time.monotonic() - self._after_s
        may_wait = self._watch is None or self._etag
        wait_s = int(max(0.0, min(self._wait_s_max, left_s + SLACK_S))) if may_wait else 0
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        if self._etag:
            headers["If-None-Match"] = self._etag
        self._asked_at = time.monotonic() + self._after_s
        target = job_path(self._id) if self._watch is None else list_path([self._id])
        return Request(method="GET", target=target, headers=headers, after_s=self._after_s, quiet_s=wait_s)

    def unanswered(self, failure: NoAnswer) -> None:
        """Plan the next try. Raises the failure once the patience is over."""
        self._patience = self._patience or Patience(self._retry_for_s)
        pause_s = self._patience.pause_s(failure)
        if pause_s is None:
            raise failure
        self._pause_s = pause_s
        self._wait_s_max = max(1, self._wait_s_max // 2)
        self._plan(at_once=False)

    def answered(self, answer: Answer) -> None:
        """Take a document, and plan the next request unless the job is terminal. Raises the error of an answer."""
        self._patience = None
        applied = answer.headers.get("preference-applied", "")
        at_once = waited_out(applied, time.monotonic() - self._asked_at)
        if answer.status == 304:
            self._pause_s = answer.retry_after_s or self._pause_s
        else:
            try:
                self.job = document(answer) if self._watch is None else one_of_list(answer, self._id)
            except errors.Refused as refused:  # the server is too busy to tell
                self._pause_s = refused.retry_after_s
            else:
                if self.job.over:
                    self.finished = True
                    return
                etag_before, self._etag = self._etag, answer.headers.get("etag", "")
                self._pause_s = _poll_after_s(self.job) or answer.retry_after_s or PAUSE_S
                if self._watch is not None:
                    self._watch.see(self.job)
                    at_once = at_once or (not etag_before and bool(self._etag))
                    if applied:
                        self._pause_s = PAUSE_S_MIN
        self._plan(at_once=at_once)

    def _plan(self, *, at_once: bool) -> None:
        left_s = self._give_up_at - time.monotonic()
        self.finished = left_s <= 0
        self._after_s = 0.0 if at_once else min(max(PAUSE_S_MIN, self._pause_s), left_s)


def _poll_after_s(job: JobDocument) -> float | None:
    return None if job.poll_after_ms is None else pause_s_of(min(job.poll_after_ms, 1e9) / 1000)
