"""The block between a server and its monitor."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bench.destructive.block import FIELDS, Beat, Block, Torn


def test_a_reader_gets_the_last_write(tmp_path: Path) -> None:
    writer, reader = Block(tmp_path / "block"), Block(tmp_path / "block")
    writer.write(Beat(at=1.0, queued=2.0))
    writer.write(Beat(at=1.5, queued=3.0, connections=7.0))
    assert reader.read() == Beat(at=1.5, queued=3.0, connections=7.0)


def test_a_new_block_has_a_beat_at_zero(tmp_path: Path) -> None:
    assert Block(tmp_path / "block").read() == Beat()


def test_an_unfinished_write_is_not_read(tmp_path: Path) -> None:
    writer = Block(tmp_path / "block")
    writer.write(Beat(at=1.0))
    with (tmp_path / "block").open("r+b") as file:
        file.write(struct.pack("<Q", 3))
    with pytest.raises(Torn, match="version 3 is odd"):
        writer.read()


def test_a_beat_is_balanced_if_no_job_is_missing() -> None:
    beat = Beat(accepted=10, delayed=1, queued=2, running=3, live=6, terminal=3, evicted=1)
    assert beat.balanced
    for name in ("accepted", "queued", "live", "terminal", "evicted"):
        other = Beat(**{field: getattr(beat, field) for field in FIELDS})
        setattr(other, name, getattr(beat, name) + 1)
        assert not other.balanced, name
