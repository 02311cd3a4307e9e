"""The display: how a fleet is doing, live. A picture on a terminal, a line a second elsewhere."""

from __future__ import annotations

import sys
from typing import IO

import msgspec
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from clients.counters import Counts


class Display:
    """Shows counts as they come; writes to stderr, so that stdout holds the report alone."""

    def __init__(self, clients: int, file: IO[str] | None = None) -> None:
        self._clients = clients
        self._file = file or sys.stderr
        self._before = Counts()
        self._before_s = 0.0
        self._live: Live | None = None
        if self._file.isatty():
            self._live = Live(console=Console(file=self._file), auto_refresh=False, transient=True)

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, elapsed_s: float, counts: Counts, phase: str) -> None:
        """Show the counts, and their rates since the last time."""
        since_s = max(elapsed_s - self._before_s, 1e-3)
        now, before = msgspec.structs.asdict(counts), msgspec.structs.asdict(self._before)
        rate = {name: (now[name] - before[name]) / since_s for name in now}
        if rate["unreachable"] or rate["unreadable_gone"]:
            phase = f"{phase}; no server listens"
        self._before, self._before_s = msgspec.structs.replace(counts), elapsed_s
        figures = {
            "clients": f"{counts.clients:,} of {self._clients:,}",
            "requests/s": f"{rate['answers']:,.0f}",
            "jobs done/s": f"{rate['ended']:,.0f}",
            "refused/s": f"{rate['refused']:,.0f}",
            "jobs live": f"{counts.accepted - counts.ended:,}",
            "jobs ended": f"{counts.ended:,}",
            "errors": f"{counts.errors:,}",
        }
        if self._live is not None:
            self._live.update(_picture(f"{elapsed_s:.0f} s, {phase}", figures), refresh=True)
        else:
            line = "  ".join(f"{name} {figure}" for name, figure in figures.items())
            print(f"{elapsed_s:6.1f} s  {phase}  {line}", file=self._file, flush=True)

    def say(self, text: str) -> None:
        """Show a remark that stays."""
        if self._live is not None:
            self._live.console.print(text)
        else:
            print(text, file=self._file, flush=True)


def _picture(title: str, figures: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=box.ROUNDED)
    table.add_column(style="dim")
    table.add_column(justify="right", min_width=14)
    for row in figures.items():
        table.add_row(*row)
    return table
