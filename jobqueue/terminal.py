"""Sentences for a person at the terminal that a server runs in: its banner, its drain, its end."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

from jobqueue import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

LABEL_COLUMNS = 12


def banner(addresses: Sequence[tuple[str, int]], handlers: Sequence[str], sources: str) -> str:
    """Say where the server is, what it serves, where its settings came from, and how it is stopped.

    Args:
        sources: Where the settings came from; empty if that is not known.
    """
    urls = [f"http://{f'[{host}]' if ':' in host else host}:{port}" for host, port in addresses]
    rows = {"handlers": ", ".join(handlers) or "none yet", "settings": sources, "stop": "Ctrl-C"}
    return "\n".join([f"jobqueue {__version__} on {', '.join(urls)}", *(_row(*row) for row in rows.items() if row[1])])


def draining(live: int, drain_s: float) -> str:
    """Say what a stop waits for. The carriage return takes the place of the ^C that the terminal has shown."""
    if not live:
        return "\rstopping"
    return f"\rdraining {live} job{'s' if live > 1 else ''}, up to {drain_s:g} s; Ctrl-C again to stop now"


def lingering(linger_s: float) -> str:
    """Say why the process is still there; nothing, if it ends at once."""
    if not linger_s:
        return ""
    return f"drained; clients can read statuses for {linger_s:g} s more; Ctrl-C again to stop now"


def _row(label: str, text: str) -> str:
    columns = shutil.get_terminal_size().columns
    first, others = f"  {label}".ljust(LABEL_COLUMNS), " " * LABEL_COLUMNS
    return textwrap.fill(text, max(columns, 40), initial_indent=first, subsequent_indent=others)
