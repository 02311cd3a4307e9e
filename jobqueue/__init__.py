"""A job queue in one process.

It holds bounded queues, a pool of workers and a job store with TTL.
Jobs are submitted in-process or over HTTP, and their status can be read.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobqueue.app import JobQueue
    from jobqueue.context import JobContext
    from jobqueue.core.backoff import Backoff
    from jobqueue.core.job import JobState
    from jobqueue.errors import JobQueueError, Reject, Retry
    from jobqueue.handle import JobHandle

__all__ = [
    "Backoff",
    "JobContext",
    "JobHandle",
    "JobQueue",
    "JobQueueError",
    "JobState",
    "Reject",
    "Retry",
    "__version__",
]

__version__ = "0.1.0"

_HOMES = {
    "Backoff": "jobqueue.core.backoff",
    "JobContext": "jobqueue.context",
    "JobHandle": "jobqueue.handle",
    "JobQueue": "jobqueue.app",
    "JobQueueError": "jobqueue.errors",
    "JobState": "jobqueue.core.job",
    "Reject": "jobqueue.errors",
    "Retry": "jobqueue.errors",
}


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def __getattr__(name: str) -> object:
    """Import a public name on first use: the fleet and a handler's process need no server."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'jobqueue' has no attribute {name!r}")
    return getattr(import_module(home), name)
