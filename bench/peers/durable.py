"""The servers that keep their jobs on disk: this one with its journal, and a queue over SQLite or over Redis.

Each has a folder of its own below tmp/bench, so all of them write to the same disk, and it is removed afterwards.
"""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.load.driving import FOLDER, Process
from bench.measure.builds import Build, available
from bench.measure.meter import family
from bench.peers.contenders import Ours, Peer, slug
from bench.peers.packages import Uninstalled, install_python
from jobqueue.config import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from bench.peers.contenders import Contender

SYNCS = ("interval", "always")
READY_S = 300.0


class Journaled(Ours):
    """This server with its journal, in `path` or in a folder that ends with the block."""

    def __init__(self, sync: str, *, build: Build = Build.PURE, path: Path | None = None) -> None:
        super().__init__(build=build)
        self.name = f"{self.name}, {sync}"
        self.build = build
        self._sync = sync
        self._given = path
        self.path = path or Path()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.path = self._given or Path(stack.enter_context(folder())) / "journal"
            super().__enter__()
            stack.push(super().__exit__)
            self._await_ready()
            self._all = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._all.close()

    def _await_ready(self) -> None:
        """Wait until it has read its journal: it listens before."""
        give_up_at = time.monotonic() + READY_S
        while True:
            try:
                self.call("GET", "/readyz")
                return
            except (OSError, RuntimeError):
                if time.monotonic() > give_up_at:
                    raise
            time.sleep(0.01)

    def command(self) -> list[str]:
        flags = [f"--set=journal.dir={self.path}", f"--set=journal.sync={self._sync}"]
        return [*super().command(), *flags]


class Kept(Peer):
    """A queue of bench.peers.kept_queue, which has no handles for the bench; its jobs stay."""

    def settle(self) -> None:
        time.sleep(0.3)

    def hold(self, *, full: bool) -> None: ...

    def release(self) -> None: ...

    def clear(self) -> None: ...


class OverSqlite(Kept):
    """Over SQLite, whose file is in a folder that ends with the block."""

    def __init__(self, synchronous: str) -> None:
        super().__init__(f"SQLite, {synchronous}", [])
        self._synchronous = synchronous

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            path = Path(stack.enter_context(folder())) / "jobs.sqlite"
            self._command = [sys.executable, "-m", "bench.peers.kept_by_sqlite", self._synchronous, str(path)]
            super().__enter__()
            stack.push(super().__exit__)
            self._all = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._all.close()


class OverRedis(Kept):
    """Over a Redis of its own, whose append-only file is in a folder that ends with the block.

    Both run on the one core that the other contenders have, and the CPU of both counts.
    """

    def __init__(self, fsync: str, python: Path) -> None:
        super().__init__(f"Redis, {fsync}", [])
        self._fsync = fsync
        self._python = python

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # Not below tmp/bench, because the path of a socket may have a hundred characters at most.
            socket = Path(stack.enter_context(TemporaryDirectory(prefix="bench-"))) / "redis.sock"
            command = _redis(socket, self._fsync)
            redis = Process(f"{slug(self.name)}-server", command, cwd=Path(stack.enter_context(folder())))
            self._redis = stack.enter_context(redis)
            redis.told(b"eady to accept connections")
            self._command = [str(self._python), "-m", "bench.peers.kept_by_redis", str(socket)]
            super().__enter__()
            stack.push(super().__exit__)
            self._all = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._all.close()

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(family([self.process.pid, self._redis.pid]))


def durable() -> tuple[list[Contender], list[str]]:
    """Return those that can be measured here, this server without a journal first, and the reasons for the others."""
    builds, skipped = available()
    found: list[Contender] = []
    journaled = "journal" in Settings.__struct_fields__
    for build in builds:
        found += [Ours(build=build), *(Journaled(sync, build=build) for sync in SYNCS if journaled)]
    if not journaled:
        skipped.append("the journal: there is no setting journal.dir")
    found += [Peer("naive", [sys.executable, "-m", "bench.peers.naive"]), OverSqlite("NORMAL"), OverSqlite("FULL")]
    if shutil.which("redis-server") is None:
        skipped.append("Redis: there is no `redis-server`; install it (Debian: apt-get install redis-server)")
        return found, skipped
    try:
        python = install_python()
    except Uninstalled as error:
        return found, [*skipped, f"Redis: {error}"]
    return [*found, OverRedis("everysec", python), OverRedis("always", python)], skipped


def folder() -> TemporaryDirectory[str]:
    """Return a folder below tmp/bench, which ends with the block."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    return TemporaryDirectory(prefix="kept-", dir=FOLDER.resolve())


def _redis(socket: Path, fsync: str) -> Sequence[str | Path]:
    files = ["--save", "", "--appendonly", "yes", "--appendfsync", fsync]
    return ["redis-server", "--port", "0", "--unixsocket", socket, *files]
