"""Rules of findings about the journal, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.duration import spell
from jobqueue.findings import thresholds as at
from jobqueue.findings.finding import Finding
from jobqueue.findings.quantile import quantile_s
from jobqueue.findings.words import percent, size, text

if TYPE_CHECKING:
    from jobqueue.backend.journal.figures import JournalFigures
    from jobqueue.findings.sight import Sight

REMEDIES = {
    "full": "Make room on the disk of journal.dir, or raise journal.bytes_max; it goes on by itself.",
    "stalled": "Look at the disk of journal.dir: its sync takes over 10 s; it goes on by itself.",
}


def failed(sight: Sight, journal: JournalFigures) -> Finding | None:
    """Nothing can be kept."""
    if journal.admits:
        return None
    return Finding(
        kind="journal_failed",
        severity="critical",
        sentence=f"The journal can't keep jobs ({journal.state}): submissions are rejected.",
        cause=text(journal.reason or "A write or a sync failed.", 500),
        remedy=REMEDIES.get(journal.state, "Mend the disk of journal.dir, or make room: new files are tried."),
        problem="journal-full" if journal.state == "full" else "journal-failed",
    )


def slow(sight: Sight, journal: JournalFigures) -> Finding | None:
    """A tenth of the commits take long."""
    commit_s = quantile_s(sight.commit_counts, at.COMMIT_QUANTILE)
    if commit_s <= at.COMMIT_S:
        return None
    waits = "each 202 waits for one" if journal.sync == "always" else "a power cut loses what waits for one"
    return Finding(
        kind="journal_slow",
        severity="warning",
        sentence=(
            f"A tenth of the journal's commits of the last {spell(at.COMMITS_WINDOW_S)} took over {spell(commit_s)}: "
            f"{waits}."
        ),
        cause="The disk of journal.dir is slow, or busy with something else.",
        remedy="Give journal.dir a disk of its own; or journal.sync: interval, if a power cut may lose the last jobs.",
    )


def nearly_full(sight: Sight, journal: JournalFigures) -> Finding | None:
    """The folder is near its bound."""
    used, most = journal.bytes_used, journal.bytes_max
    if used <= at.JOURNAL_FILL * most:
        return None
    return Finding(
        kind="journal_nearly_full",
        severity="critical" if used >= most else "warning",
        sentence=f"The journal is {percent(used / most)} full: {size(used)} of {size(most)}.",
        cause="The records of held jobs take it, and a snapshot and the log since then are there at the same time.",
        remedy="Raise journal.bytes_max, or lower statuses.bytes_max or statuses.ttl_s; at 100 % nothing is admitted.",
        problem="journal-full",
    )


RULES = (failed, slow, nearly_full)
