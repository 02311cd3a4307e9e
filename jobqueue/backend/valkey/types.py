"""The limits of types and of their groups, told to the store: it holds the permits over all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobqueue.core.policy import Limits
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobqueue.backend.valkey.calls import Argument
    from jobqueue.backend.valkey.link import Link
    from jobqueue.core.job import JobSpec
    from jobqueue.core.rate import Rate

TYPES_MAX: Final = 64
"""Types of one call."""

_UNLIMITED: Final = Limits()

log = event_logger(__name__)


class TypeLimits:
    """Tells the store what this process knows of its types.

    Args:
        specs: The defaults of each handler.
    """

    def __init__(self, link: Link, specs: Iterable[JobSpec]) -> None:
        self._link = link
        self._specs = {spec.type: spec for spec in specs}
        self._told: dict[str, tuple[object, object]] = {}

    @property
    def names(self) -> list[str]:
        """The types that have a handler here."""
        return list(self._specs)

    async def tell_all(self) -> None:
        """Tell all types that have a handler here."""
        self._told.clear()
        specs = list(self._specs.values())
        for start in range(0, len(specs), TYPES_MAX):
            portion = specs[start : start + TYPES_MAX]
            await self._link.call("set_types", _args(portion))
            for spec in portion:
                self._told[spec.type] = _limits(spec)

    def tell(self, spec: JobSpec) -> None:
        """Tell the limits of a job's type, if the store hasn't been told these."""
        limits = _limits(spec)
        if limits == (None, None) and spec.type not in self._told:
            return
        if self._told.get(spec.type) != limits:
            self._told[spec.type] = limits

            def noted(_: list[Any] | None, error: Exception | None) -> None:
                if error is not None:  # the next submission of the type tells them again
                    self._told.pop(spec.type, None)
                    log.sampled("store.types_untold", every_s=10.0, type=spec.type, error=str(error))

            self._link.send("set_types", _args([spec]), noted)


def _limits(spec: JobSpec) -> tuple[object, object]:
    return spec.pool, spec.limits


def _args(specs: list[JobSpec]) -> list[Argument]:
    args: list[Argument] = [len(specs)]
    for spec in specs:
        limits = spec.limits or _UNLIMITED
        args += (spec.type, spec.pool or "", *_bounds(limits.concurrency, limits.rate))
        args += _bounds(limits.group_concurrency, limits.group_rate)
    return args


def _bounds(concurrency: int | None, rate: Rate | None) -> tuple[int, int, int, int]:
    """Return the maximum at once, and count, period (ms) and burst of a rate; 0: no limit."""
    if rate is None:
        return concurrency or 0, 0, 0, 0
    return concurrency or 0, rate.count, round(rate.period_s * 1000.0), rate.burst_max
