"""Where jobs are kept: the rules across settings, and which of them fit `backend: valkey`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.config.journal import faults_of_drain
from jobqueue.config.valkey import faults_of_valkey
from jobqueue.core.policy import Discipline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobqueue.config.settings import Settings

UNSHARED = {
    Discipline.ADAPTIVE: "adaptive turns the order round by the waits of one process; use fifo, lifo, priority or fair",
}
"""The disciplines that a shared store has not, with the reason."""


def faults_of_keeping(settings: Settings, places: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    """Yield what is wrong with where jobs are kept, in settings that are valid alone. Args: places: As in `listening`.

    An application that makes its settings itself meets these faults when it starts its queue.
    """
    keeps = settings.journal.dir is not None or settings.backend == "valkey"
    yield from faults_of_drain(settings.server.drain_mode, keeps, places)
    yield from faults_of_valkey(settings.valkey, places)
    yield from faults_of_backend(settings, places)


def faults_of_backend(settings: Settings, places: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    """Yield each setting that does not fit `backend: valkey`. Args: places: As in `listening`."""
    if settings.backend != "valkey":
        return

    def at(*path: str) -> str:
        return places.get(path, ".".join(path))

    for name, queue in settings.queues.items():
        if (reason := UNSHARED.get(queue.discipline)) is not None:
            yield f"{at('queues', name, 'discipline')}: does not fit backend: valkey: {reason}"
    if settings.runtime.shares == "weighted" and len(settings.queues) > 1:
        yield (
            f"{at('runtime', 'shares')}: weighted does not fit backend: valkey with several queues: servers share no "
            "weights; set strict, the queue with the higher weight first"
        )
    if settings.journal.dir is not None:
        yield (
            f"{at('journal', 'dir')}: does not fit backend: valkey: jobs are in the store, which has a persistence of "
            "its own; remove it"
        )
    if settings.spool.dir is not None:
        yield (
            f"{at('spool', 'dir')}: does not fit backend: valkey: files would be on one machine alone, so jobs have "
            "none; remove it"
        )
