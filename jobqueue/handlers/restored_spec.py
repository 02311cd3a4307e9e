"""The spec of a job of an earlier process: what was accepted, with the handler as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.record import changed

if TYPE_CHECKING:
    from jobqueue.core.job import JobSpec


def restored_spec(stored: JobSpec, default: JobSpec | None) -> JobSpec:
    """Return the spec that a stored one has in this process.

    What the submission asked for stays, and so do the queue and the number of attempts that it was accepted with.
    Limits, backoff and pool are the handler's, and the timeout unless the submission set its own.

    Args:
        default: That of the handler of this type; None: there is no handler, and the spec stays as it is.
    """
    if default is None:
        return stored
    spec = changed(
        stored,
        own=False,
        timeout_s=stored.timeout_s if stored.own_timeout else default.timeout_s,
        pool=default.pool,
        limits=default.limits,
        backoff=default.backoff,
    )
    return default if spec == default else changed(spec, own=True)
