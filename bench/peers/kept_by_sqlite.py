"""The queue of bench.peers.kept_queue over SQLite, with a write-ahead log; a thread commits one group after the other.

    python -m bench.peers.kept_by_sqlite FULL|NORMAL FILE

FULL syncs the log with each commit, so nothing is lost at a power cut; NORMAL with each checkpoint alone.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bench.peers.kept_queue import serve_over

if TYPE_CHECKING:
    from bench.peers.kept_queue import Change

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, state TEXT, type TEXT, args BLOB, result BLOB) WITHOUT ROWID"
)
INSERT = "INSERT INTO jobs (id, state, type, args, result) VALUES (?, ?, ?, ?, ?)"
UPDATE = "UPDATE jobs SET state = ?, result = ? WHERE id = ?"


class Sqlite:
    """A table of jobs.

    Args:
        synchronous: FULL or NORMAL.
    """

    def __init__(self, synchronous: str, path: str) -> None:
        self._synchronous = synchronous
        self._path = path
        self._thread = ThreadPoolExecutor(1, "sqlite")
        self._connection: sqlite3.Connection

    async def open(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def keep(self, changes: list[Change]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, changes)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    def _open(self) -> None:
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        (mode,) = self._connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise RuntimeError(f"SQLite has no write-ahead log here, but {mode}")
        self._connection.execute(f"PRAGMA synchronous={self._synchronous}")
        self._connection.execute(SCHEMA)

    def _commit(self, changes: list[Change]) -> None:
        self._connection.execute("BEGIN")
        new = [change for change in changes if change.state == "queued"]
        self._connection.executemany(INSERT, new)
        # A start and an end of the same group are one update, as one would write it.
        last = {change.id: change for change in changes if change.state != "queued"}
        self._connection.executemany(UPDATE, [(each.state, each.result, each.id) for each in last.values()])
        self._connection.execute("COMMIT")


def main(synchronous: str, path: str) -> None:
    if synchronous not in ("FULL", "NORMAL"):
        raise SystemExit(f"synchronous is FULL or NORMAL, not {synchronous}")
    serve_over(Sqlite(synchronous, path))


if __name__ == "__main__":
    main(*sys.argv[1:])
