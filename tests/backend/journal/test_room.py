"""The room of a journal: what a folder needs by the bounds of its records, and the warning of one that is too small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue import JobQueue
from jobqueue.backend.journal.room import enough_bytes, least_bytes
from jobqueue.config import JournalSettings, Settings, StatusesSettings

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20
STATUSES = StatusesSettings(jobs_max=MIB, bytes_max=156 * MIB)
"""Snapshots of 256 MiB at most: 100 bytes a record, and their content."""


def test_a_folder_holds_snapshots_of_all_records_and_the_log() -> None:
    assert least_bytes(records_max=MIB, record_bytes_max=156 * MIB) == (2 * 256 + 3 * 64) * MIB
    assert enough_bytes(records_max=MIB, record_bytes_max=156 * MIB) == (4 * 256 + 4 * 64) * MIB


async def warnings_of(folder: Path, caplog: pytest.LogCaptureFixture, **settings: object) -> list[str]:
    """Start a queue with a journal, and return what its log says of a small folder."""
    caplog.clear()
    queue = JobQueue(Settings(**settings))  # type: ignore[arg-type]  # each test gives sections
    await queue.start()
    await queue.stop()
    return [record.getMessage() for record in caplog.records if "journal.small" in record.getMessage()]


@pytest.mark.parametrize(("below", "count"), [(0, 0), (1, 1)])
async def test_a_start_warns_of_a_folder_that_records_may_fill(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, below: int, count: int
) -> None:
    journal = JournalSettings(dir=str(tmp_path / "journal"), bytes_max=704 * MIB - below)
    found = await warnings_of(tmp_path, caplog, journal=journal, statuses=STATUSES)
    assert len(found) == count
    for line in found:
        assert f"bytes_max={704 * MIB - below} least_bytes={704 * MIB} enough_bytes={1280 * MIB}" in line


async def test_the_default_settings_have_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = JournalSettings(dir=str(tmp_path / "journal"))
    assert await warnings_of(tmp_path, caplog, journal=journal) == []
    statuses = StatusesSettings()
    assert enough_bytes(records_max=statuses.jobs_max, record_bytes_max=statuses.bytes_max) <= journal.bytes_max
