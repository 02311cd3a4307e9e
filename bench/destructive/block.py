"""The block: 24 numbers in memory that a server shares with its monitor. Rules:

1. One writer. Its version is odd while a write is under way; a reader tries again until it has read an even one twice.
2. A reader never waits for the writer: of a frozen server it reads the last complete write, and its age.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

TRIES = 1000


class Beat(msgspec.Struct, kw_only=True):
    """One write of the server: its counts, all of one instant, and its heartbeat.

    Attributes:
        at: Seconds on the system's monotonic clock; 0: there was no write yet.
        gap_s_max: Longest time between two beats since the start.
        lag_s_max: Latest that a beat was after its due time.
        accepted: Submissions accepted since the start; the sums that follow are totals, too.
        objects: Those that the garbage collector tracks, but for the ones of the start.
    """

    at: float = 0.0
    beats: float = 0.0
    gap_s_max: float = 0.0
    lag_s_max: float = 0.0
    delayed: float = 0.0
    queued: float = 0.0
    running: float = 0.0
    live: float = 0.0
    terminal: float = 0.0
    bytes_used: float = 0.0
    accepted: float = 0.0
    evicted: float = 0.0
    evicted_early: float = 0.0
    submitted: float = 0.0
    refused: float = 0.0
    retried: float = 0.0
    succeeded: float = 0.0
    failed: float = 0.0
    cancelled: float = 0.0
    expired: float = 0.0
    connections: float = 0.0
    tasks: float = 0.0
    objects: float = 0.0

    @property
    def balanced(self) -> bool:
        """Whether accepted = delayed + queued + running + terminal + evicted."""
        live = self.delayed + self.queued + self.running
        return live == self.live and self.accepted == live + self.terminal + self.evicted


FIELDS = Beat.__struct_fields__
_VERSION = struct.Struct("<Q")
_NUMBERS = struct.Struct(f"<{len(FIELDS)}d")
SIZE = _VERSION.size + _NUMBERS.size


class Torn(Exception):
    """No complete write could be read: the writer ended in the middle of one."""


class Block:
    """A block in a file that both sides map; one side writes it.

    Args:
        path: Made if it doesn't exist.
    """

    def __init__(self, path: Path) -> None:
        path.touch()
        with path.open("r+b") as file:
            file.truncate(SIZE)
            self._map = mmap.mmap(file.fileno(), SIZE)
        self._version = 0

    def write(self, beat: Beat) -> None:
        self._version += 1
        _VERSION.pack_into(self._map, 0, self._version)
        _NUMBERS.pack_into(self._map, _VERSION.size, *(getattr(beat, name) for name in FIELDS))
        self._version += 1
        _VERSION.pack_into(self._map, 0, self._version)

    def read(self) -> Beat:
        """Return the last complete write. Raises Torn."""
        for _ in range(TRIES):
            (before,) = _VERSION.unpack_from(self._map, 0)
            numbers = _NUMBERS.unpack_from(self._map, _VERSION.size)
            (after,) = _VERSION.unpack_from(self._map, 0)
            if before == after and before % 2 == 0:
                return Beat(**dict(zip(FIELDS, numbers, strict=True)))
        raise Torn(f"version {before} is odd, or changes with each of {TRIES} reads")

    def close(self) -> None:
        self._map.close()
