"""Settings that change while the server runs: read again, taken over, and told.

Owns the turn of one reload and what is logged of it. It must not know signals or sockets, nor what a
setting does: the queue takes the new ones over, and says which of them need a restart.

1. One reload at a time. Asked for during one, the next begins after it, and reads what is there by then.
2. A fault anywhere leaves everything as it was. Each is logged (`config.faulty`), as at the start.
3. Sources are read in a thread of its own: a slow disk must not hold up the loop, nor a hung one the exit.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from jobqueue.config.load import differences
from jobqueue.errors import ConfigError
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.config.settings import Settings

log = event_logger(__name__)


class Reloadable(Protocol):
    """Whose settings may change: a JobQueue."""

    @property
    def settings(self) -> Settings: ...

    async def reload(self, settings: Settings) -> list[str]:
        """Take over what can change now; return the names of what else differs.

        Raises:
            ConfigError: They don't go with the handlers; nothing was taken over.
        """
        ...


class Reload:
    """Reads the settings anew and has the queue take them over, one reload at a time.

    Args:
        load: Reads every source anew, as at the start; called in a thread. Raises ConfigError.
        set_level: Takes over `log.level`, which is no queue's.
    """

    def __init__(self, queue: Reloadable, load: Callable[[], Settings], *, set_level: Callable[[str], None]) -> None:
        self._queue = queue
        self._load = load
        self._set_level = set_level
        self._asked = asyncio.Event()
        self._stopping = False

    def ask(self) -> None:
        """Reload soon; while the server stops, don't, and say so."""
        if self._stopping:
            log.warning("config.reload_ignored", reason="the server is stopping")
        else:
            self._asked.set()

    def stop(self) -> None:
        """Take nothing over from now on, also of what is being read."""
        self._stopping = True

    async def run(self) -> None:
        """Reload whenever it is asked for, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self._reload()
            except ConfigError as error:
                for fault in error.faults:
                    log.error("config.faulty", fault=fault)
            except Exception as error:
                # Whatever it was, the next one may succeed, and the server goes on meanwhile.
                log.error("config.reload_failed", exc=error)

    async def _reload(self) -> None:
        settings = await self._read()
        if self._stopping:
            self.ask()  # which says that it is ignored
            return
        changed = differences(self._queue.settings, settings)
        needs_restart = await self._queue.reload(settings)
        self._set_level(settings.log.level)
        log.info("config.reloaded", changed={name: changed[name] for name in changed if name not in needs_restart})
        if needs_restart:
            log.warning("config.needs_restart", settings=needs_restart)

    async def _read(self) -> Settings:
        read: Future[Settings] = Future()
        read.set_running_or_notify_cancel()  # from now on only the thread decides it, whoever stops waiting
        threading.Thread(target=self._read_into, args=(read,), name="jobqueue-reload", daemon=True).start()
        return await asyncio.wrap_future(read)

    def _read_into(self, read: Future[Settings]) -> None:
        try:
            read.set_result(self._load())
        except Exception as error:
            read.set_exception(error)
