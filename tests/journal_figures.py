"""Figures of a journal, as tests show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.backend.journal.figures import JournalFigures
from jobqueue.core.histogram import BUCKETS

if TYPE_CHECKING:
    import pytest

    from jobqueue.service import Service

FIGURES = JournalFigures(
    folder="/srv/jobs/journal",
    sync="always",
    state="ok",
    bytes_used=12 * 2**20,
    bytes_max=4 * 2**30,
    segments=2,
    commits_total=7,
    commit_counts=(4, 2, 1, *[0] * (BUCKETS - 3)),
    commit_sum_s=0.0139,
    commit_s_last=0.0008,
    commit_s_p50=0.0009,
    commit_s_max=0.0071,
    errors_total=1,
    snapshot_at=1_700_000_000.0,
    snapshot_s=0.25,
    recovered={"queued": 12, "succeeded": 3},
    recovered_s=0.04,
)


def figures(**changed: Any) -> JournalFigures:
    return msgspec.structs.replace(FIGURES, **changed)


def give_journal(monkeypatch: pytest.MonkeyPatch, service: Service, of: JournalFigures) -> None:
    """Let a service have these figures."""
    monkeypatch.setattr(type(service), "journal", property(lambda _: of))
