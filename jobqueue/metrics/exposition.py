"""The exposition: all families of one scrape as text, in one of two forms.

The text is written here, not by prometheus_client, which takes 7 (OpenMetrics) to 27 µs a line: 50 queues and 200 types
have thousands of lines. `collector` gives the same families to prometheus_client, for applications that have
metrics of their own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobqueue import __version__
from jobqueue.build import build, interpreter
from jobqueue.metrics import catalogue as of
from jobqueue.metrics.family import labelled
from jobqueue.metrics.journal import add_journal
from jobqueue.metrics.process import add_process
from jobqueue.metrics.queues import QueueFamilies
from jobqueue.metrics.schedules import add_schedules
from jobqueue.metrics.store import add_store
from jobqueue.metrics.topics import add_topics
from jobqueue.metrics.webhooks import add_webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jobqueue.service import Service

    Source = Callable[[QueueFamilies], None]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

LINES_AT_ONCE = 2000


def media_type_for(accept: str) -> str:
    """Choose the form for an Accept header: OpenMetrics only for a client that names it."""
    names = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return OPENMETRICS if "application/openmetrics-text" in names else TEXT


class Exposition:
    """The metrics of one service.

    Args:
        sources: Add what the service doesn't know: the server's connections, its log.
    """

    def __init__(self, service: Service, sources: Iterable[Source] = ()) -> None:
        self._service = service
        self._turn = asyncio.Lock()
        self.sources = [*sources]

    async def write(self, media_type: str, *, with_examples: bool = False) -> bytes:
        """Return the text, without its last line break; other tasks run meanwhile, one scrape after the other.

        Raises:
            RuntimeError: The queue doesn't run.
        """
        async with self._turn:
            text: list[str] = []
            for _ in self.steps(text, media_type, with_examples=with_examples):
                await asyncio.sleep(0)
            return "".join(text).removesuffix("\n").encode()

    def write_now(self, media_type: str = TEXT, *, with_examples: bool = False) -> bytes:
        """As `write`, without other tasks in between."""
        text: list[str] = []
        for _ in self.steps(text, media_type, with_examples=with_examples):
            """Each step is taken at once."""
        return "".join(text).removesuffix("\n").encode()

    def steps(self, text: list[str], media_type: str, *, with_examples: bool) -> Iterator[None]:
        """Write the text in steps of some milliseconds at most."""
        openmetrics = media_type == OPENMETRICS
        families = QueueFamilies(self._service, with_examples=with_examples and openmetrics)
        yield from families.steps()
        families[of.BUILD_INFO].add(
            1, labelled(("version", __version__), ("python", interpreter()), ("build", build()))
        )
        for add in (*self.sources, add_journal, add_store, add_schedules, add_topics, add_webhooks, add_process):
            add(families)
        written = 0
        for family in families.filled:
            text.append(family.text(openmetrics=openmetrics))
            written += len(family.lines)
            if written >= LINES_AT_ONCE:
                written = 0
                yield
        if openmetrics:
            text.append("# EOF\n")
