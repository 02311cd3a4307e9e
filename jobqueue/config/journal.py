"""The section `journal` of the settings: jobs that outlive the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from jobqueue.config.section import GIB, MIB, TIB, Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class JournalSettings(Section, frozen=True):
    """Jobs that outlive the process: a log of what happens to them, in a folder."""

    dir: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4096,
                description="Folder of the journal, of one server alone: it goes on with the jobs of the one before; "
                "null: jobs end with the process.",
            ),
        ]
        | None
    ) = None
    sync: Annotated[
        Literal["always", "interval"],
        Meta(
            description="When an answer promises that a job is kept: always (once it is on disk, also where the power "
            "fails) or interval (once it is written, where the process alone fails; the disk follows within "
            "`interval_s`)."
        ),
    ] = "always"
    interval_s: Annotated[
        float,
        Meta(
            ge=0.001,
            le=60.0,
            description="With interval: maximum time until what is written is on disk; what is lost where the power "
            "fails.",
        ),
    ] = 0.05
    bytes_max: Annotated[
        int,
        Meta(
            ge=256 * MIB,
            le=1024 * TIB,
            description="Maximum size of the folder without files of jobs; beyond it submissions are rejected with "
            "503 until the journal has become smaller.",
        ),
    ] = 4 * GIB
    unknown: Annotated[
        Literal["refuse", "fail"],
        Meta(
            description="What becomes of jobs in the folder whose queue or type is not configured any more: refuse "
            "(the server does not start, and names them) or fail (they end as failed)."
        ),
    ] = "refuse"


def faults_of_journal(
    journal: JournalSettings, spool_dir: str | None, places: Mapping[tuple[str, ...], str]
) -> Iterator[str]:
    """Yield what is wrong with settings that are valid alone. Args: places: As in `listening`."""
    if journal.dir is not None and spool_dir is not None:
        at = places.get(("spool", "dir"), "spool.dir")
        yield f"{at}: must not be set beside journal.dir: files that outlive the process are in its folder `files`"


KEEPS_NOTHING = (
    "keep needs a journal, or the queued jobs would be lost: set journal.dir to a folder of this server's own, or "
    "drain_mode to work_off"
)


def faults_of_drain(mode: str, keeps: bool, places: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    """Yield what is wrong with `server.drain_mode`.

    Args:
        keeps: Whether jobs outlive the process.
        places: As in `listening`.
    """
    if mode == "keep" and not keeps:
        yield f"{places.get(('server', 'drain_mode'), 'server.drain_mode')}: {KEEPS_NOTHING}"
