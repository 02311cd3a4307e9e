"""Sights of tests: a quiet server, with what a test changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.config import QueueSettings, Settings
from jobqueue.core.counting.stats import QueueStats, StoreStats
from jobqueue.core.pause import Pause
from jobqueue.findings.rules import derive
from jobqueue.findings.sight import ProcessCounts, SeenQueue, Sight
from jobqueue.runtime.pools.pool_counts import PoolCounts
from jobqueue.runtime.webhook_target import TargetFigures
from jobqueue.snapshot import ServiceSnapshot, SpoolCounts

if TYPE_CHECKING:
    from jobqueue.findings.finding import Finding

NOW = 100_000.0
QUIET = ProcessCounts(connections=1, connections_max=100)


def stats(name: str = "default", **changed: Any) -> QueueStats:
    """Return the counts of a queue with a capacity of 100 and two workers."""
    settings = QueueSettings(**{"capacity": 100, "workers": 2, **changed.pop("settings", {})})
    counts: dict[str, Any] = dict.fromkeys(QueueStats.__struct_fields__, 0)
    counts |= {"name": name, "policy": settings.policy, "paused": False, "quarantined": [], "oldest_queued_at": None}
    if changed.get("paused"):
        changed.setdefault("pause", Pause(since=NOW - 60))
    return QueueStats(**{**counts, "pause": None, "drain_rate_per_s": 0.0, **changed})


def store(**changed: int) -> StoreStats:
    return StoreStats(**{**dict.fromkeys(StoreStats.__struct_fields__, 0), **changed})


def snapshot(*queues: QueueStats, **changed: Any) -> ServiceSnapshot:
    given: dict[str, Any] = {
        "at": NOW,
        "wall_offset_s": 0.0,
        "started_at": NOW - 10_000,
        "run": "abc",
        "settings": Settings(),
        "draining": False,
        "degraded": [],
        "types": [],
        "store": store(),
        "queues": list(queues) or [stats()],
        "limiters": [],
        "threads": PoolCounts(size=4),
        "processes": PoolCounts(size=0),
        "spool": SpoolCounts(bytes_used=0, errors_total=0),
    }
    return ServiceSnapshot(**{**given, **changed})


def receiver(**changed: Any) -> TargetFigures:
    """Return what is shown of a receiver of webhooks, `crm`, to which nothing was sent yet."""
    counts: dict[str, Any] = dict.fromkeys(TargetFigures.__struct_fields__, 0)
    unknown = dict.fromkeys(("disabled", "last_at", "last_job_id", "last_error", "failing_since", "delivered_at"))
    named = {"name": "crm", "host": "crm.test", "events": (), "topics": ()}
    return TargetFigures(**{**counts, **unknown, **named, **changed})


def sight(of: ServiceSnapshot | None = None, **changed: Any) -> Sight:
    of = of or snapshot()
    queues = changed.pop("queues", None) or [SeenQueue(stats=each, started_at=NOW) for each in of.queues]
    return Sight(**{"now": NOW, "snapshot": of, "queues": queues, "process": QUIET, **changed})


def found(of: Sight) -> dict[str, Finding]:
    """Return what is wrong, by kind."""
    return {finding.kind: finding for step in derive(of) for finding in step}


def settings(**sections: Any) -> Settings:
    """Return the default settings with other values in some sections."""
    default = Settings()
    changed = {name: msgspec.structs.replace(getattr(default, name), **given) for name, given in sections.items()}
    return msgspec.structs.replace(default, **changed)
