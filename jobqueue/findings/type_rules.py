"""Rules of findings about one type: each returns a finding, or None."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.duration import spell
from jobqueue.findings import thresholds as at
from jobqueue.findings.finding import NO_REASON, Finding
from jobqueue.findings.words import counted, percent, text

if TYPE_CHECKING:
    from jobqueue.core.limits.quarantined_type import QuarantinedType
    from jobqueue.findings.sight import SeenType, Sight


def quarantined(sight: Sight, quarantine: QuarantinedType) -> Finding:
    """A type is in quarantine."""
    left_s = quarantine.until - sight.now
    probe = f"its next probe may start in {spell(left_s)}" if left_s > 0 else "its next job to start is the probe"
    failures = counted(quarantine.failures, "failure")
    return Finding(
        kind="type_quarantined",
        severity="critical",
        sentence=(
            f"Type {quarantine.type} has been in quarantine for {spell(sight.now - quarantine.since)}, after "
            f"{failures} in a row: its jobs wait; {probe}."
        ),
        cause=f"The last failure: {text(quarantine.reason)}",
        open_cause=NO_REASON,
        remedy="Mend what its handler needs: the first probe that succeeds releases the type. Or release it by hand.",
        about="type",
        name=quarantine.type,
        problem="type-quarantined",
        since=quarantine.since,
        is_open=True,
    )


def failure_ratio(sight: Sight, seen: SeenType) -> Finding | None:
    """A share of a type's attempts fails."""
    if seen.attempts < at.FAILURE_ATTEMPTS_MIN or seen.failed <= at.FAILURE_RATIO * seen.attempts:
        return None
    return Finding(
        kind="failure_ratio",
        severity="warning",
        sentence=(
            f"{percent(seen.failed / seen.attempts)} of the attempts of type {seen.name} fail: {seen.failed:,} of "
            f"{counted(seen.attempts, 'attempt')} in the last {spell(at.FAILURE_WINDOW_S)}."
        ),
        cause="Its handler raises, runs into its timeout, or its process dies: the failures have the messages.",
        remedy="Look at its failed jobs, mend the cause, then retry them all.",
        about="type",
        name=seen.name,
    )
