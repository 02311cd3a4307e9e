"""Reload: reads the settings again while the server runs, applies and logs the changes.

The queue applies the new settings, and returns those that need a restart. Rules:

1. One reload at a time. A request during one starts another after it, with newly read sources.
2. A fault anywhere leaves everything as it was. Each is logged (`config.invalid`), as at the start.
3. Sources are read in a separate thread: a slow disk must not hold up the loop, nor a hung one the exit.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec

from jobqueue.config.load import differences
from jobqueue.errors import ConfigError, Draining
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.config.load import Loaded
    from jobqueue.config.settings import Settings

    _Prepared = tuple[Loaded, Callable[[], None] | None]

log = event_logger(__name__)


class Reloadable(Protocol):
    """A `Service`, as far as a reload needs it."""

    @property
    def settings(self) -> Settings: ...

    async def reload(self, settings: Settings) -> list[str]:
        """Apply what can change now; return the names of the other settings. Raises ConfigError, and applies none."""


class Reloaded(msgspec.Struct, frozen=True):
    """The names of the settings that have changed: those that are in effect, and those that take a restart."""

    changed: list[str]
    restart_required: list[str]


class Reload:
    """Reads the settings and lets the queue apply them, one reload at a time.

    Args:
        loaded: What was read at the start.
        load: Reads every source again, as at the start; called in a thread. Raises ConfigError.
        set_level: Applies `log.level`, which is not the queue's.

    Attributes:
        readings: What was read: by the last reload that succeeded, and at the start.
        restart_required: What the last one changed that waits for a restart, with both values.
        succeeded: Whether the last reload did, or the start.
        succeeded_at: When the last one that did was over, in Unix seconds.
        faults: Those of the last reload; empty if it succeeded.
        prepare: Reads files that the settings name, and returns what applies them; called in the same thread. Raises
            ConfigError.
    """

    def __init__(
        self, queue: Reloadable, loaded: Loaded, load: Callable[[], Loaded], *, set_level: Callable[[str], None]
    ) -> None:
        self._queue = queue
        self._first = loaded
        self.readings = [loaded]
        self.restart_required: dict[str, str] = {}
        self._load = load
        self._set_level = set_level
        self.prepare: Callable[[Settings], Callable[[], None]] | None = None
        self.succeeded = True
        self.succeeded_at = time.time()
        self.faults: tuple[str, ...] = ()
        self._turn = asyncio.Lock()
        self._asked = asyncio.Event()
        self._stopping = False

    def ask(self) -> None:
        """Request a reload; while the server stops, log that it is ignored."""
        if self._stopping:
            log.warning("config.reload_ignored", reason="the server is stopping")
        else:
            self._asked.set()

    def stop(self) -> None:
        """Apply nothing from now on, also of a reload under way."""
        self._stopping = True

    async def run(self) -> None:
        """Reload whenever it is asked for, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            with suppress(Exception):  # the next reload may succeed, and the server goes on meanwhile
                await self.now()

    async def now(self) -> Reloaded:
        """Reload, after one that is under way; return the changes. What it raises is logged, too.

        Raises:
            ConfigError: The settings have faults, and none is applied.
            Draining: The server stops.
        """
        try:
            async with self._turn:
                self._refuse_late()
                return await self._reload()
        except ConfigError as error:
            self.succeeded, self.faults = False, tuple(error.faults)
            for fault in error.faults:
                log.error("config.invalid", fault=fault)
            raise
        except Draining:
            raise
        except Exception as error:
            self.succeeded, self.faults = False, (f"{type(error).__name__}: {error}",)
            log.error("config.reload_failed", exc=error)
            raise

    async def _reload(self) -> Reloaded:
        loaded, apply = await self._read()
        self._refuse_late()
        settings = loaded.settings
        changed = differences(self._queue.settings, settings)
        needs_restart = await self._queue.reload(settings)
        self._set_level(settings.log.level)
        if apply is not None:
            apply()
        self.succeeded, self.succeeded_at, self.faults = True, time.time(), ()
        self.readings = [loaded, self._first]
        self.restart_required = {name: changed.get(name, "changed") for name in needs_restart}
        applied = {name: changed[name] for name in changed if name not in needs_restart}
        log.info("config.reloaded", changed=applied)
        if needs_restart:
            log.warning("config.restart_required", settings=needs_restart)
        return Reloaded([*applied], needs_restart)

    def _refuse_late(self) -> None:
        if self._stopping:
            self.ask()  # which logs that it is ignored
            raise Draining("the server is stopping, and reads its settings no more")

    async def _read(self) -> _Prepared:
        read: Future[_Prepared] = Future()
        read.set_running_or_notify_cancel()  # only the thread sets its result now, even after a cancellation
        threading.Thread(target=self._read_into, args=(read,), name="jobqueue-reload", daemon=True).start()
        return await asyncio.wrap_future(read)

    def _read_into(self, read: Future[_Prepared]) -> None:
        try:
            loaded = self._load()
            read.set_result((loaded, None if self.prepare is None else self.prepare(loaded.settings)))
        except Exception as error:
            read.set_exception(error)
