"""Messages of a server on a terminal: its banner, its drain, its end."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

from jobqueue import __version__
from jobqueue.build import build, interpreter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.backend.store import StoreFigures

LABEL_COLUMNS = 12


def banner(
    urls: Sequence[str], handlers: Sequence[str], sources: str, console: str = "", store: StoreFigures | None = None
) -> str:
    """Return the banner: addresses, console, store (if there), handlers, sources of the settings, build, stop."""
    rows = {
        "console": console,
        "store": "" if store is None else _store(store),
        "handlers": ", ".join(handlers) or "none yet",
        "settings": sources,
        "build": f"{build()}, {interpreter()}",
        "stop": "Ctrl-C",
    }
    return "\n".join([f"jobqueue {__version__} on {', '.join(urls)}", *(_row(*row) for row in rows.items() if row[1])])


def _store(store: StoreFigures) -> str:
    """Return where the jobs are, and how many servers share them."""
    servers = "this server alone" if store.servers <= 1 else f"{store.servers} servers"
    return f"{store.product} at {store.address}, namespace {store.namespace}; {servers}"


def draining(live: int, drain_s: float) -> str:
    """Return what a stop waits for. The carriage return overwrites the ^C that the terminal has shown."""
    if not live:
        return "\rstopping"
    return f"\rdraining {live} job{'s' if live > 1 else ''}, up to {drain_s:g} s; Ctrl-C again to stop now"


def lingering(linger_s: float) -> str:
    """Return why the process still runs; an empty text if it ends at once."""
    if not linger_s:
        return ""
    return f"drained; clients can read statuses for {linger_s:g} s more; Ctrl-C again to stop now"


def _row(label: str, text: str) -> str:
    columns = shutil.get_terminal_size().columns
    first, others = f"  {label}".ljust(LABEL_COLUMNS), " " * LABEL_COLUMNS
    return textwrap.fill(text, max(columns, 40), initial_indent=first, subsequent_indent=others)
