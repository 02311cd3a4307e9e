"""Rules of findings about what is kept: records and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.duration import spell
from jobqueue.findings import thresholds as at
from jobqueue.findings.finding import Finding
from jobqueue.findings.words import counted, percent, size

if TYPE_CHECKING:
    from jobqueue.findings.sight import Sight


def evicted_early(sight: Sight) -> Finding | None:
    """Records are evicted before their TTL."""
    if sight.evicted_early <= 0:
        return None
    return Finding(
        kind="records_evicted_early",
        severity="warning",
        sentence=(
            f"Bounds have evicted {counted(sight.evicted_early, 'record')} before the TTL in the last "
            f"{spell(at.EVICTED_WINDOW_S)}: clients get a 410 for results that they expect."
        ),
        cause="More terminal records than statuses.jobs_max, failed_max or bytes_max allow.",
        remedy="Raise the bound, or lower statuses.ttl_s; large results belong into files.",
        problem="job-gone",
    )


def store(sight: Sight) -> Finding | None:
    """The job store is nearly full, by the number of records or their bytes."""
    settings, counts = sight.snapshot.settings.statuses, sight.snapshot.store
    records = counts.live + counts.terminal
    shares = {
        f"{records:,} of {settings.jobs_max:,} records (statuses.jobs_max)": records / settings.jobs_max,
        f"{size(counts.bytes_used)} of {size(settings.bytes_max)} (statuses.bytes_max)": counts.bytes_used
        / settings.bytes_max,
    }
    told, share = max(shares.items(), key=lambda each: each[1])
    if share <= at.STORE_FILL:
        return None
    is_live = counts.live >= at.STORE_FILL * settings.jobs_max
    return Finding(
        kind="store_nearly_full",
        severity="critical" if is_live else "warning",
        sentence=f"The job store is {percent(share)} full: {told}.",
        cause="Live jobs take it." if is_live else "Terminal records stay for their TTL.",
        remedy=(
            "Raise the bound, or lower the capacity of queues."
            if is_live
            else "When it is full, the oldest terminal records go first: raise the bound, or lower statuses.ttl_s."
        ),
        problem="statuses-full",
    )


def spool(sight: Sight) -> Finding | None:
    """The files take nearly all of the spool."""
    used, most = sight.snapshot.spool.bytes_used, sight.snapshot.settings.spool.bytes_max
    if used <= at.SPOOL_FILL * most:
        return None
    return Finding(
        kind="spool_nearly_full",
        severity="critical" if used >= most else "warning",
        sentence=f"The spool is {percent(used / most)} full: {size(used)} of {size(most)}.",
        cause="The files of held jobs take it.",
        remedy="Raise spool.bytes_max, or shorten the TTL of jobs with files; at 100 % uploads get a 503.",
        problem="spool-full",
    )


def spool_errors(sight: Sight) -> Finding | None:
    """Files could not be written or removed."""
    if sight.spool_errors <= 0:
        return None
    return Finding(
        kind="spool_errors",
        severity="warning",
        sentence=f"The spool could not write or remove {counted(sight.spool_errors, 'file')} of late.",
        cause="The disk of spool.dir is full, or its permissions have changed: spool.write_failed in the log.",
        remedy="Make room on the disk, or give the folder back to the server's user.",
    )


RULES = (evicted_early, store, spool, spool_errors)
