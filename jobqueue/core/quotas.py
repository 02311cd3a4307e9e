"""Quotas: what a caller may hold of the queues and of the job store.

Rules:

1. A caller without a quota of its own has the common one. The application itself has none.
2. Live jobs over a quota are rejected (429). Over that of records or bytes, the caller's own oldest terminal records
   are evicted first.
3. A quota that becomes smaller applies to new submissions: what is held stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from jobqueue.core.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping


@final
@mypyc_attr(acyclic=True)
class Quota(Record):
    """The maximum of live jobs, of records, and of their bytes; None: no bound."""

    jobs_max: int | None
    records_max: int | None
    bytes_max: int | None

    def __init__(
        self, jobs_max: int | None = None, records_max: int | None = None, bytes_max: int | None = None
    ) -> None:
        self.jobs_max = jobs_max
        self.records_max = records_max
        self.bytes_max = bytes_max


UNBOUNDED: Final = Quota()


class Quotas:
    """The quotas of all callers.

    Args:
        common: That of each caller without one of its own.
        own: By caller.

    Attributes:
        any: Whether any caller has a bound.
    """

    def __init__(self, common: Quota = UNBOUNDED, own: Mapping[str, Quota] | None = None) -> None:
        self.common = common
        self._own = dict(own or {})
        self.any = any(quota != UNBOUNDED for quota in (common, *self._own.values()))

    def of(self, caller: str | None) -> Quota:
        """Return the quota of a caller."""
        return UNBOUNDED if caller is None else self._own.get(caller, self.common)
