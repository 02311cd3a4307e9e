"""`jobqueue top`: the queues of a server, or its types, live.

On a terminal a full screen (`rich`, the extra `cli`), without it a table each time, and in a pipe a JSON document.
A server that doesn't answer, or restarts, is waited for: the screen says since when.
"""

from __future__ import annotations

import os
import select
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobqueue.cli.command import Command
from jobqueue.cli.remote import job_view, queues, type_panel
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.samples import POINTS, Rates, Row, Sample, read, spark
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.remote.type_panel import TypeRates, read_types
from jobqueue.cli.terminal import table
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import since
from jobqueue.cli.terminal.visible import visible
from jobqueue.cli.values import count, duration
from jobqueue.client import NoAnswer
from jobqueue.duration import spell
from jobqueue.errors import Refused

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output

INTERVAL_S = 1.0
TIMEOUT_S = 5.0

Reading = tuple[Sample | None, str]
"""A sample, or None with the reason."""


def _of(column: Column) -> Column:
    style = column.style
    return column._replace(
        read=lambda row: column.read(row.queue), style=None if style is None else lambda row: style(row.queue)
    )


_LEFT = ("queue", "state", "running", "queued", "delayed", "used", "oldest", "empty in")
COLUMNS = (
    *(_of(column) for column in queues.COLUMNS if column.title in _LEFT),
    Column("in/s", lambda row: f"{row.in_per_s:,.1f}", right=True),
    Column("done/s", lambda row: f"{row.out_per_s:,.1f}", right=True),
    Column("", lambda row: spark(row.points).rjust(POINTS), style=lambda row: "cyan", drop=8),
    *(_of(column) for column in queues.COLUMNS if column.title in ("failed", "rejected")),
)
FAILURES = (
    Column("failed", lambda job: f"{since(job.finished_at)} ago"),
    Column("id", lambda job: job.id, cut=64),
    Column("type", lambda job: job.type, cut=32),
    Column("error", job_view.error, cut=100, flexible=True, style=lambda job: "red"),
)


def top(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Show the queues until q, Ctrl-C, or `--count` samples."""
    screen = table.console(output.out, colour=output.colour) if output.is_table else None
    if screen is None:
        return _print(connection, output, options)
    from rich.live import Live

    rates, panel = Rates(), _TypePanel(connection, options)
    with _Keys(options) as keys, Live(console=screen, screen=True, auto_refresh=False) as live:
        picture: RenderableType = ""
        for sample, trouble in _readings(connection, options, keys.wait):
            if sample is not None and not keys.paused:
                rows = rates.rows(sample)
                shown = panel.draw(screen.width) if keys.types else _queues(sample, rows, screen.width)
                picture = _picture(connection.url, sample, shown)
            live.update(_under(trouble, picture) if trouble else picture, refresh=True)
    return 0


def _print(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Write each sample: as text for a person, as JSON for a program."""
    rates, panel = Rates(), _TypePanel(connection, options)

    def wait() -> bool:
        select.select([], [], [], options.interval)
        return True

    for sample, trouble in _readings(connection, options, wait):
        now = datetime.now(UTC)
        if sample is None:
            output.say(trouble)
        elif output.is_table:
            output.line(f"{now.astimezone():%H:%M:%S}  {connection.url}  {sample.state}")
            if sample.kept is not None:
                output.line(visible(sample.kept, 300))
            rows = rates.rows(sample)
            if options.types:
                output.table(type_panel.COLUMNS, panel.rows())
            else:
                output.table(COLUMNS, rows)
        else:
            told = {"at": now.isoformat(), "status": sample.state, "queues": list(sample.documents)}
            if options.types:
                told["types"] = panel.documents()
            output.document(told, id="status")
        output.out.flush()
    return 0


def _readings(connection: Connection, options: argparse.Namespace, wait: Callable[[], bool]) -> Iterator[Reading]:
    """Yield readings until `wait`, which is called between two of them, returns False.

    Raises:
        NoAnswer: The first reading is not answered; later ones are waited for.
    """
    silent_since: float | None = None
    taken = 0
    while True:
        try:
            sample = read(connection, options.queue)
        except (NoAnswer, Refused) as failure:
            if not taken:
                raise
            silent_since = time.monotonic() if silent_since is None else silent_since
            yield None, f"{visible(str(failure), 200)}; for {spell(time.monotonic() - silent_since)} now"
        else:
            silent_since = None
            yield sample, ""
        taken += 1
        if taken == options.count or not wait():
            return


class _TypePanel:
    """The types, read only while they are shown."""

    def __init__(self, connection: Connection, options: argparse.Namespace) -> None:
        self._connection = connection
        self._queues = options.queue
        self._rates = TypeRates()

    def rows(self) -> list[type_panel.TypeRow]:
        return self._rates.rows(*read_types(self._connection, self._queues))

    def documents(self) -> list[dict[str, Any]]:
        import msgspec

        return [msgspec.to_builtins(each) for each in read_types(self._connection, self._queues)[0]]

    def draw(self, width: int) -> list[RenderableType]:
        from rich.text import Text

        try:
            rows = self.rows()
        except (NoAnswer, Refused) as failure:  # the next reading tells
            return [Text(visible(str(failure), 200), style="bold red")]
        reasons = [row.type for row in rows if row.type.quarantined is not None]
        warnings = [
            Text(f"quarantined: {visible(each.type, 100)}: {visible(each.quarantined.reason, 200)}", style="red")
            for each in reasons
            if each.quarantined is not None
        ]
        return [table.rich_table(type_panel.COLUMNS, rows, width), *warnings[:5]]


def _queues(sample: Sample, rows: list[Row], width: int) -> list[RenderableType]:
    from rich.text import Text

    parts: list[RenderableType] = [table.rich_table(COLUMNS, rows, width)]
    parts += [Text(line, style="red") for line in queues.warnings(sample.queues)]
    if sample.failures:
        parts += [Text(""), table.rich_table(FAILURES, sample.failures, width)]
    return parts


def _picture(url: str, sample: Sample, shown: list[RenderableType]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    words = [visible(url, 100), sample.state]
    if sample.loop_lag_s is not None:
        words.append(f"loop lag {spell(sample.loop_lag_s)}")
    words.append(f"{datetime.now().astimezone():%H:%M:%S}")
    kept = [] if sample.kept is None else [Text(visible(sample.kept, 300), style="dim")]
    parts: list[RenderableType] = [
        Text("  ".join(words), style="bold" if sample.state == "ready" else "bold yellow"),
        *kept,
        *(Text(f"degraded: {part}", style="yellow") for part in sample.degraded),
        Text(""),
        *shown,
    ]
    return Group(*parts, Text(""), Text("q ends  p pauses  t types or queues", style="dim"))


def _under(line: str, picture: RenderableType) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    return Group(Text(line, style="bold red"), picture)


class _Keys:
    """The keys of a terminal, read as they are pressed: q ends, p pauses, t changes between queues and types."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._interval_s: float = options.interval
        self.types: bool = options.types
        self._before: list[Any] | None = None
        self.paused = False

    def __enter__(self) -> _Keys:
        if sys.stdin.isatty():
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin, termios.TCSADRAIN)  # what is typed by now counts
        return self

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def wait(self) -> bool:
        """Wait for the next reading; return whether there is to be one."""
        until = time.monotonic() + self._interval_s
        while (left_s := until - time.monotonic()) > 0:
            if self._before is None:
                select.select([], [], [], left_s)
            elif select.select([sys.stdin], [], [], left_s)[0]:
                match os.read(sys.stdin.fileno(), 1):
                    case b"q" | b"Q" | b"":
                        return False
                    case b"p" | b"P" | b" ":
                        self.paused = not self.paused
                    case b"t" | b"T":
                        self.types, self.paused = not self.types, False
                        return True
        return True


def _arguments(parser: Parser) -> None:
    parser.add_argument("--queue", action="append", metavar="QUEUE", help="only this queue; may be repeated")
    parser.add_argument("--types", action="store_true", help="the types instead of the queues (the key t)")
    parser.add_argument(
        "--interval", type=_interval, default=INTERVAL_S, metavar="TIME", help="between two readings (default: 1s)"
    )
    parser.add_argument("--count", type=count, metavar="N", help="end after so many readings")
    add_flags(parser)


def _interval(text: str) -> float:
    return max(0.1, duration(text))


TEXT = "Show the queues or types, live: a full screen on a terminal, where q ends, p pauses and t changes the panel."
COMMANDS = (Command("", TEXT, talking(top, timeout_s=TIMEOUT_S), _arguments),)
