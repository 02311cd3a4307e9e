"""The wiring of a journal: its folder, the journal itself and the spool beside it, from the settings.

`wiring.py` imports it where there is a journal: other servers need none of its 30 modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobqueue.backend.journal import journal_log, room
from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.backend.journal.journal import Journal
from jobqueue.config.journal import faults_of_journal
from jobqueue.core.ids import IdIssuer
from jobqueue.errors import ConfigError
from jobqueue.paths import written_path
from jobqueue.runtime.kept_spool import KeptSpool

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.config import Settings
    from jobqueue.runtime.wall_clock import WallClock


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalParts:
    """What a run with a journal has instead of the parts of other runs: ids that go on, and files that are kept."""

    ids: IdIssuer
    journal: Journal
    spool: KeptSpool


def journal_parts(
    settings: Settings, folder: str, *, clock: Callable[[], float], wall_clock: WallClock
) -> JournalParts:
    """Lock the folder, and return what is to run on it. Raises ConfigError."""
    opened = _opened(settings, folder)
    _warn_if_small(settings)
    ids = IdIssuer(secret=opened.secret, run=opened.run)
    journal = Journal(opened, settings.journal, ids=ids, now=clock, offset_s=wall_clock.offset_s)
    syncs = settings.journal.sync == "always"
    spool = KeptSpool(settings.spool, opened.files, syncs=syncs, when_kept=lambda done: journal.when_kept(done))
    return JournalParts(ids=ids, journal=journal, spool=spool)


def _opened(settings: Settings, folder: str) -> JournalFolder:
    faults = list(faults_of_journal(settings.journal, settings.spool.dir, {}))
    if faults:
        raise ConfigError(*faults)
    try:
        path = written_path(folder)
    except ValueError as error:
        raise ConfigError(f"journal.dir: {error}") from error
    return JournalFolder.open(path)


def _warn_if_small(settings: Settings) -> None:
    """Warn of a bound of the journal's folder that the records which may be held don't fit into."""
    bytes_max, statuses = settings.journal.bytes_max, settings.statuses
    least = room.least_bytes(records_max=statuses.jobs_max, record_bytes_max=statuses.bytes_max)
    if bytes_max < least:
        enough = room.enough_bytes(records_max=statuses.jobs_max, record_bytes_max=statuses.bytes_max)
        journal_log.small(bytes_max, least_bytes=least, enough_bytes=enough)
