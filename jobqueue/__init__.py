"""A job queue in one process.

It holds bounded queues, a pool of workers and a job store with TTL.
Jobs are submitted in-process or over HTTP, and their status can be read.

The public API in Python is this module and its submodules `client`, `config`, `errors`, `http` and `testing`; every
other submodule is private, and may change in any release. `client` and `errors` need no extra; what runs jobs needs the
extra `server`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobqueue.app import JobQueue
    from jobqueue.context import JobContext
    from jobqueue.core.backoff import Backoff
    from jobqueue.core.job import JobState
    from jobqueue.errors import (
        InvalidSubmission,
        JobFailed,
        JobGone,
        JobNotFound,
        JobQueueError,
        QueueFull,
        Refused,
        Reject,
        Retry,
    )
    from jobqueue.flow_handle import FlowHandle
    from jobqueue.graph import Graph, chain, flow, group
    from jobqueue.handle import JobHandle

__all__ = [
    "Backoff",
    "FlowHandle",
    "Graph",
    "InvalidSubmission",
    "JobContext",
    "JobFailed",
    "JobGone",
    "JobHandle",
    "JobNotFound",
    "JobQueue",
    "JobQueueError",
    "JobState",
    "QueueFull",
    "Refused",
    "Reject",
    "Retry",
    "__version__",
    "chain",
    "flow",
    "group",
]

__version__ = "0.1.0"

_MODULES = ("client", "config", "errors", "http", "metrics", "testing")
_HOMES = {
    "Backoff": "jobqueue.core.backoff",
    "FlowHandle": "jobqueue.flow_handle",
    "Graph": "jobqueue.graph",
    "InvalidSubmission": "jobqueue.errors",
    "JobContext": "jobqueue.context",
    "JobFailed": "jobqueue.errors",
    "JobGone": "jobqueue.errors",
    "JobHandle": "jobqueue.handle",
    "JobNotFound": "jobqueue.errors",
    "JobQueue": "jobqueue.app",
    "JobQueueError": "jobqueue.errors",
    "JobState": "jobqueue.core.job",
    "QueueFull": "jobqueue.errors",
    "Refused": "jobqueue.errors",
    "Reject": "jobqueue.errors",
    "Retry": "jobqueue.errors",
    "chain": "jobqueue.graph",
    "flow": "jobqueue.graph",
    "group": "jobqueue.graph",
}


def __dir__() -> list[str]:
    """List the public names and modules, imported or not."""
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})


def __getattr__(name: str) -> object:
    """Import a public name or module on first use: the fleet and a handler's process need no server."""
    home = f"jobqueue.{name}" if name in _MODULES else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'jobqueue' has no attribute {name!r}")
    from jobqueue.extras import extra

    with extra("server", f"jobqueue.{name}"):
        module = import_module(home)
    return module if name in _MODULES else getattr(module, name)
