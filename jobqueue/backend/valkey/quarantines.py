"""Quarantines that the attempts of this process have begun or ended, as events.

Rules:

1. The store decides on a quarantine, by the outcomes of all processes; the mirror tells which there are.
2. A process tells of one that began if it has just had a failure of the type, and of its end if it has just had a
   success. Where several have had one, each tells it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.events import AttemptFailed, Ended, Quarantined, Released
from jobqueue.core.job import SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.valkey.listeners import Listeners
    from jobqueue.core.limits.quarantined_type import QuarantinedType

JUST_S: Final = 3.0
"""Age of an outcome that may be the cause of what was read: the mirror is read every second."""


class Quarantines:
    """Publishes quarantines.

    Args:
        now: The loop's clock, in seconds.
    """

    def __init__(self, now: Callable[[], float], listeners: Listeners) -> None:
        self._now, self._listeners = now, listeners
        self._known: dict[str, QuarantinedType] = {}
        self._failed: dict[str, float] = {}
        self._succeeded: dict[str, float] = {}
        listeners.subscribe(self._on_failed, AttemptFailed)
        listeners.subscribe(self._on_ended, Ended)

    def see(self, types: list[QuarantinedType]) -> None:
        """Take the types that are in quarantine now."""
        known, self._known = self._known, {each.type: each for each in types}
        for job_type, each in self._known.items():
            if job_type not in known and self._is_recent(self._failed, job_type):
                self._listeners.publish(Quarantined(job_type, each.until, each.reason))
        for job_type in known:
            if job_type not in self._known and self._is_recent(self._succeeded, job_type):
                self._listeners.publish(Released(job_type))

    def _on_failed(self, event: AttemptFailed) -> None:
        self._failed[event.job.spec.type] = self._now()

    def _on_ended(self, event: Ended) -> None:
        if self._known and event.job.state is SUCCEEDED:
            self._succeeded[event.job.spec.type] = self._now()

    def _is_recent(self, outcomes: dict[str, float], job_type: str) -> bool:
        return self._now() - outcomes.get(job_type, -JUST_S) < JUST_S
