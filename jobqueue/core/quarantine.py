"""Which types are in quarantine: paused, because they failed too often in a row.

A circuit breaker (Nygard, "Release It!"): shut after so many failures in a row, tried with one attempt, the
probe, after a while, opened again when that succeeds. It keeps the count and the instants; `Gates` holds the jobs back.

Rules:

1. While a type is in quarantine, only the verdict on a probe counts. Nothing of the type starts before the
   probe's instant, so a probe is an attempt that started at that instant or later. Verdicts on those that started
   before neither release the type nor put the probe off.
2. A failed probe puts the next one off for twice as long, up to `PROBE_S_MAX`. A probe without a verdict
   (its job was cancelled) changes nothing: the next attempt to start is the probe.
3. After a release the count begins anew, with attempts that started after the quarantine: stragglers from
   before it have had their say.
4. `budget` decides when a quarantine begins. It ends with a probe that succeeds, whatever the budget is then.
"""

from __future__ import annotations

import msgspec

PROBE_S_MIN = 1.0
PROBE_S_MAX = 60.0


class QuarantinedType(msgspec.Struct, frozen=True, kw_only=True):
    """A type that is in quarantine since one instant until, at the earliest, another: that of its probe.

    `reason` is the message of its last failure that counted.
    """

    type: str
    since: float
    until: float
    reason: str


class _Record:
    """What is known of one type: failures in a row, of attempts that started at `counts_from` or later."""

    __slots__ = ("counts_from", "failures", "quarantined", "wait_s")

    def __init__(self) -> None:
        self.counts_from = 0.0
        self.failures = 0
        self.wait_s = PROBE_S_MIN
        self.quarantined: QuarantinedType | None = None


class Quarantine:
    """All types that failed lately: one small record each."""

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def failed(self, job_type: str, *, budget: int, started_at: float, reason: str, now: float) -> float | None:
        """Count a failed attempt; return the instant of the probe if this failure set it, None otherwise.

        Args:
            budget: After so many failures in a row the type is quarantined; 0: never.
            started_at: When the attempt started, on the clock of `now`.
            reason: What to tell people who ask why.
        """
        record = self._records.setdefault(job_type, _Record())
        quarantined = record.quarantined
        if quarantined is not None:
            if started_at < quarantined.until:
                return None
            record.wait_s = min(PROBE_S_MAX, 2 * record.wait_s)
            return self._shut(record, job_type, quarantined.since, reason, now)
        if started_at < record.counts_from:
            return None
        record.failures += 1
        if budget == 0 or record.failures < budget:
            return None
        return self._shut(record, job_type, now, reason, now)

    def succeeded(self, job_type: str, *, started_at: float) -> bool:
        """Count an attempt that succeeded; return whether it releases the type, which was quarantined until now."""
        record = self._records.get(job_type)
        if record is None:
            return False
        quarantined = record.quarantined
        if quarantined is None:
            if started_at >= record.counts_from:
                record.failures = 0
            return False
        if started_at < quarantined.until:
            return False
        record.quarantined = None
        record.failures = 0
        record.wait_s = PROBE_S_MIN
        record.counts_from = quarantined.until
        return True

    def of(self, job_type: str) -> QuarantinedType | None:
        """Return what is known of a type's quarantine; None if it isn't in one."""
        record = self._records.get(job_type)
        return None if record is None else record.quarantined

    def all(self) -> list[QuarantinedType]:
        """Return all quarantined types, the latest last."""
        found = [record.quarantined for record in self._records.values() if record.quarantined is not None]
        return sorted(found, key=lambda quarantined: quarantined.since)

    def _shut(self, record: _Record, job_type: str, since: float, reason: str, now: float) -> float:
        until = now + record.wait_s
        record.quarantined = QuarantinedType(type=job_type, since=since, until=until, reason=reason)
        return until
