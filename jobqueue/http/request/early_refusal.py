"""Rejections of submissions before their bodies are read or decoded: the loop is late, or no new job is admitted.

Both HTTP paths ask here, so that the same submission is rejected on both. Rules:

1. While the loop is over `limits.loop_lag_max_s` late, every submission is rejected: a later repetition is as good.
2. While no new job is admitted, a submission is rejected unless its Idempotency-Key, or a unique value in its body,
   may be that of a job that is held.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from jobqueue.core.scheduling.retry_after import RetryAfter
from jobqueue.errors import Overloaded, raise_if_any
from jobqueue.http.request.head import UNIQUE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.job import Uniqueness
    from jobqueue.errors import Refused
    from jobqueue.service import Service

RETURNS_PER_S: Final = 100.0
"""Retry slots per second while the loop is late: a rate that a slow machine sustains."""


class EarlyRefusal:
    """Raises what a submission is rejected for by its head alone.

    Args:
        lag: Returns how many seconds late the event loop runs; None: it is not measured.
    """

    def __init__(self, service: Service, lag: Callable[[], float] | None) -> None:
        self._service = service
        self._lag = lag
        self._retry_after = RetryAfter(random.Random())  # noqa: S311  # spreads clients, hides nothing

    def refuse_unread(self, uniqueness: Uniqueness, *, may_be_unique: bool) -> None:
        """Reject by both rules.

        Args:
            may_be_unique: The body may have a unique value.

        Raises:
            Overloaded, Refused
        """
        self.refuse_late(uniqueness.caller, None if uniqueness.key is None else uniqueness.key.key)
        raise_if_any(self._service.backend.refuse_unseen(uniqueness=uniqueness, may_be_unique=may_be_unique))

    def refuse_late(self, caller: str | None, key: str | None) -> None:
        """Reject by the first rule. Raises Overloaded."""
        if self._lag is not None and (lag_s := self._lag()) > self._service.settings.limits.loop_lag_max_s:
            detail = f"the event loop is {lag_s:.1f} s late; submissions are rejected above limits.loop_lag_max_s"
            now = self._service.backend.now()
            retry_slot_s = self._retry_after.retry_slot_s(now, drain_per_s=RETURNS_PER_S, caller=caller, key=key)
            raise Overloaded(detail, retry_after_s=max(1.0, retry_slot_s))

    def refuse_read(self, body: bytes, uniqueness: Uniqueness) -> None:
        """Reject by the second rule, given the body. Raises Refused."""
        raise_if_any(self.refusal_read(uniqueness, body))

    def refusal_unread(self, uniqueness: Uniqueness, size_bytes: int) -> Refused | None:
        """Reject as `refuse_unread` by the second rule, given the size of a JSON body; not raised."""
        may_be_unique = size_bytes <= UNIQUE_BYTES_MAX
        return self._service.backend.refuse_unseen(uniqueness=uniqueness, may_be_unique=may_be_unique)

    def refusal_read(self, uniqueness: Uniqueness, body: bytes) -> Refused | None:
        """Reject as `refuse_read`; not raised."""
        return self._service.backend.refuse_unseen(uniqueness=uniqueness, may_be_unique=_may_be_unique(body))

    def reads_body(self, size_bytes: int) -> bool:
        """Whether a body of this size is read while no queue admits a job, for its unique value."""
        return size_bytes <= UNIQUE_BYTES_MAX and self._service.local.unique_values() > 0

    def refusal_of(self, body: bytes, uniqueness: Uniqueness) -> Refused | None:
        """Reject as `refuse_read` while no queue admits a job; None: a job may equal the submission.

        Its key, if it has one, is that of no held job.

        Not raised, which would cost a tenth more.
        """
        local = self._service.local
        return local.refuse_closed(uniqueness, local.unique_values() > 0 and _may_be_unique(body))


def _may_be_unique(body: bytes) -> bool:
    # The name in JSON, plain or with escapes. By `find`: `in` makes and drops an exception first.
    return len(body) <= UNIQUE_BYTES_MAX and (body.find(b"unique") >= 0 or body.find(b"\\u") >= 0)
