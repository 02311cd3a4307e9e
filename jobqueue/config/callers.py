"""The limits of callers: those of `limits.caller_…`, and the own ones of single keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.rate import Rate
from jobqueue.keys import caller_of_key

if TYPE_CHECKING:
    from jobqueue.config.settings import Settings


class CallerLimits(Struct, frozen=True, kw_only=True):
    """The limits of one caller; None: no limit."""

    requests: Rate | None = None
    rate: Rate | None = None
    jobs_max: int | None = None
    records_max: int | None = None
    bytes_max: int | None = None
    connections_max: int | None = None
    waits_max: int | None = None
    spool_bytes_max: int | None = None

    @property
    def quota(self) -> Quota:
        """What the caller may hold."""
        return Quota(self.jobs_max, self.records_max, self.bytes_max)


class LimitsOfCallers:
    """The limits of all callers.

    Attributes:
        common: Those of callers without limits of their own.
        requests: Whether the requests of any caller are limited.
        any: Whether any caller has a limit: answers to submissions tell it.
        connections: Whether the connections of any caller are limited.
        keyless_connections_max: How many connections without a key an address may have; None: any number.
        waits: Whether the waits of any caller are limited.
        unbounded: Whether any caller can use up a queue's capacity: it has a limit neither of jobs nor of submissions.
    """

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self.common = CallerLimits(
            **{name: getattr(limits, f"caller_{name}") for name in CallerLimits.__struct_fields__}
        )
        self._own: dict[str, CallerLimits] = {}
        for name, key in settings.auth.keys.items():
            own: dict[str, Any] = {
                field: value for field, value in msgspec.structs.asdict(key.limits).items() if value is not None
            }
            if own:
                self._own[caller_of_key(name)] = msgspec.structs.replace(self.common, **own)
        every = (self.common, *self._own.values())
        self.requests = any(each.requests is not None for each in every)
        self.any = any(each != CallerLimits() for each in every)
        self.keyless_connections_max = limits.keyless_connections_max
        self.connections = any(each.connections_max is not None for each in every)
        self.waits = any(each.waits_max is not None for each in every)
        # Where keys are needed, no other caller submits.
        submitting = [self.of(caller_of_key(name)) for name in settings.auth.keys] or [self.common]
        self.unbounded = any(each.jobs_max is None and each.rate is None for each in submitting)

    def of(self, caller: str | None) -> CallerLimits:
        """Return the limits of a caller."""
        return self.common if caller is None else self._own.get(caller, self.common)

    @property
    def quotas(self) -> Quotas:
        """What callers may hold."""
        return Quotas(self.common.quota, {caller: limits.quota for caller, limits in self._own.items()})
