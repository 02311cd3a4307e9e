"""A server with a journal that takes its time: `python -m tests.e2e.recovering serve GATE`.

It recovers until the file GATE exists; with the text "damaged" in it, it then fails.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueue.app import JobQueue
from jobqueue.config.load import Override, trace
from jobqueue.errors import ConfigError
from jobqueue.server import serve
from jobqueue.wiring import system
from tests.backend.keeping import HeldKeeper

if TYPE_CHECKING:
    from jobqueue.config import Settings
    from jobqueue.surroundings import Surroundings

queue = JobQueue()


@queue.handler
async def echo(value: int = 0) -> int:
    return value


class SlowJournal(HeldKeeper):
    """Has brought back two fifths of the jobs, until there is a file."""

    def __init__(self, gate: Path) -> None:
        super().__init__(waits=False)
        self._gate = gate

    @property
    def progress(self) -> float:
        return 0.4

    async def restore(self, spec_of: object, knows_type: object) -> None:
        while not self._gate.exists():
            await asyncio.sleep(0.01)
        if self._gate.read_text() == "damaged":
            raise ConfigError("/srv/journal/00000001.log: damaged at byte 4096")


if __name__ == "__main__":
    _, _, gate, *options = sys.argv

    def surroundings(settings: Settings) -> Surroundings:
        return dataclasses.replace(system(settings), journal=SlowJournal(Path(gate)))

    queue.service.surroundings = surroundings
    given = [option.removeprefix("--set=") for option in options if option.startswith("--set=")]
    overrides = [Override(each, *each.split("=", 1)) for each in (*given, "server.port=0")]
    read = functools.partial(trace, None, environ={}, overrides=overrides)
    sys.exit(serve(queue.service, read(), load=read))
