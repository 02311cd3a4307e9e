"""Surroundings of a server with its jobs in a store outside the process: `FarBackend` in place of a real one."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from jobqueue.core.engine import Engine
from jobqueue.runtime.no_files import NoFiles
from tests.backend.far import FarBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobqueue.config import Settings
    from jobqueue.core.ids import IdIssuer
    from jobqueue.core.job import JobSpec
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.runtime.wall_clock import WallClock
    from jobqueue.surroundings import Surroundings


def far(surroundings: Callable[[Settings], Surroundings]) -> Callable[[Settings], Surroundings]:
    """Return the same surroundings, but with a store that answers later."""

    def made(settings: Settings) -> Surroundings:
        given = surroundings(replace(settings, backend="memory"))
        make = partial(_far_backend, given.ids, given.wall_clock)
        return dataclasses.replace(given, spool=NoFiles(settings.spool), store=make)

    return made


def _far_backend(
    ids: IdIssuer,
    wall_clock: WallClock,
    *,
    queues: Mapping[str, QueuePolicy],
    types: Sequence[JobSpec],
    spec_of: Callable[[JobSpec], JobSpec],
    now: Callable[[], float],
    pools: Mapping[str, int],
    **more: Any,
) -> FarBackend:
    engine = Engine(queues=dict(queues), ids=ids, pools=dict(pools), **more)
    return FarBackend(engine, ids, now=now, offset_s=wall_clock.offset_s)
