"""`jobqueue queues`: lists, shows, pauses, resumes and changes queues."""

from __future__ import annotations

import argparse
import difflib
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.remote.simulate import TIMEOUT_S, add_question, simulate
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import clock
from jobqueue.cli.terminal.visible import visible
from jobqueue.cli.values import assignment, duration
from jobqueue.duration import spell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output

CHANGEABLE = ("workers", "capacity", "discipline", "weight")


class Quarantined(msgspec.Struct, frozen=True):
    """A type in quarantine."""

    type: str
    until: datetime | None = None
    reason: str = ""


class Pause(msgspec.Struct, frozen=True):
    """A pause of a queue."""

    since: datetime | None = None
    reason: str | None = None
    until: datetime | None = None
    by: str | None = None

    @property
    def line(self) -> str:
        """The pause in words."""
        parts = [
            f"paused since {clock(self.since)}" if self.since else "paused",
            f"until {clock(self.until)}" if self.until else "",
            f"by {visible(self.by, 100)}" if self.by else "",
        ]
        told = " ".join(part for part in parts if part)
        return f"{told}: {visible(self.reason, 200)}" if self.reason else told


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue, as far as it is shown."""

    name: str
    discipline: str
    weight: int
    workers: int
    capacity: int
    paused: bool
    pause: Pause | None = None
    waiting: int = 0
    delayed: int
    queued: int
    running: int
    oldest_queued_s: float | None = None
    drain_rate_per_s: float = 0.0
    drain_s: float | None = None
    quarantined: tuple[Quarantined, ...] = ()
    submitted_total: int = 0
    refused_total: int = 0
    succeeded_total: int = 0
    failed_total: int = 0
    cancelled_total: int = 0
    expired_total: int = 0

    @property
    def live(self) -> int:
        """Jobs that take a slot."""
        return self.waiting + self.delayed + self.queued + self.running

    @property
    def state(self) -> str:
        """Whether its jobs start."""
        return (
            "paused" if self.paused else "full" if self.live >= self.capacity else "running" if self.running else "idle"
        )


class Queues(msgspec.Struct, frozen=True):
    """The document of all queues."""

    queues: tuple[Queue, ...]


def _number(name: str, drop: int = 0) -> Column:
    return Column(name.removesuffix("_total"), lambda queue: f"{getattr(queue, name):,}", right=True, drop=drop)


COLUMNS = (
    Column("queue", lambda queue: queue.name, cut=32),
    Column("state", lambda queue: queue.state),
    Column("running", lambda queue: f"{queue.running:,}/{queue.workers:,}", right=True),
    _number("queued"),
    _number("delayed", drop=5),
    _number("waiting", drop=7),
    Column(
        "used",
        lambda queue: f"{100 * queue.live / queue.capacity:.0f} %" if queue.capacity else "",
        right=True,
        style=lambda queue: "red" if queue.live >= 0.9 * queue.capacity else "",
    ),
    Column("jobs/s", lambda queue: f"{queue.drain_rate_per_s:,.1f}", right=True),
    Column("oldest", lambda queue: spell(queue.oldest_queued_s), right=True, drop=4),
    Column("empty in", lambda queue: spell(queue.drain_s) if queue.live else "", right=True, drop=3),
    _number("succeeded_total", drop=6),
    _number("failed_total"),
    Column("rejected", lambda queue: f"{queue.refused_total:,}", right=True, drop=2),
)


def views(document: object) -> tuple[Queue, ...]:
    """Return the queues in the answer of `/v1/queues`."""
    queues: tuple[Queue, ...] = seen(document, Queues).queues
    return queues


def warnings(queues: Sequence[Queue]) -> Iterator[str]:
    """Yield a line for each type in quarantine: each queue tells of those of all queues."""
    told: set[str] = set()
    for queue in queues:
        for each in queue.quarantined:
            if each.type not in told:
                told.add(each.type)
                until = f", next trial at {clock(each.until)}" if each.until else ""
                yield f"quarantined: {visible(each.type, 100)}{until}: {visible(each.reason, 200)}"


def listing(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print all queues."""
    document = connection.read("/v1/queues")
    rows = views(document)
    output.listing(document["queues"], COLUMNS, Queue, id="name")
    if output.is_table:
        for line in warnings(rows):
            output.line(line)
    return 0


def show(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print one queue."""
    return _print(output, connection.read(_path(options.name)))


def pause(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Start no more of its jobs."""
    given = {"reason": options.reason, "for_s": options.for_s}
    body = {name: value for name, value in given.items() if value is not None}
    return _print(output, connection.ask("POST", f"{_path(options.name)}:pause", body or None))


def resume(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Start its jobs again."""
    return _print(output, connection.ask("POST", f"{_path(options.name)}:resume"))


def change(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Change its settings."""
    return _print(output, connection.ask("PATCH", _path(options.name), dict(options.changes)))


def _print(output: Output, document: dict[str, Any]) -> int:
    if not output.is_table:
        output.document(document, id="name")
        return 0
    queue: Queue = seen(document, Queue)
    output.table(COLUMNS, [queue])
    output.line("")
    if queue.pause is not None:
        output.line(queue.pause.line)
    output.line(
        f"discipline {visible(queue.discipline, 50)}, weight {queue.weight:,}, workers {queue.workers:,}, "
        f"capacity {queue.capacity:,}"
    )
    for line in warnings([queue]):
        output.line(line)
    return 0


def completed(words: list[str]) -> list[str]:
    """Write `queues` as `queues list`, and `queues NAME` as `queues show NAME`."""
    known = [command.word for command in COMMANDS]
    first = words[0] if words else ""
    if first in known or first in ("-h", "--help"):
        return words
    if not first or first.startswith("-"):
        return ["list", *words]
    if len(words) > 1 and difflib.get_close_matches(first, known, n=1, cutoff=0.7):
        return words  # a mistyped command: the parser suggests
    return ["show", *words]


def _change_of(text: str) -> tuple[str, Any]:
    name, value = assignment(text)
    if name not in CHANGEABLE:
        near = difflib.get_close_matches(name, CHANGEABLE, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(CHANGEABLE)}"
        raise argparse.ArgumentTypeError(f"{visible(name, 50)!r} can't be changed in a running queue, {hint}")
    return name, value


def _path(name: str) -> str:
    return f"/v1/queues/{quote(name, safe='')}"


def _add_name(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the queue")
    add_flags(parser)


def _add_pause(parser: Parser) -> None:
    _add_name(parser)
    parser.add_argument("--reason", metavar="TEXT", help="why: shown with the queue, in events and in the log")
    parser.add_argument(
        "--for", dest="for_s", type=duration, metavar="DURATION", help="resume by itself after this time, such as 10m"
    )


def _add_changes(parser: Parser) -> None:
    parser.intermixed = True
    parser.add_argument("name", metavar="NAME", help="the queue")
    parser.add_argument(
        "changes",
        nargs="+",
        type=_change_of,
        metavar="SETTING=VALUE",
        help="workers, capacity, discipline or weight; until that queue's configured settings change or, without a "
        "journal, a restart",
    )
    add_flags(parser)


COMMANDS = (
    Command("list", "List the queues: `jobqueue queues` is the same.", talking(listing), add_flags),
    Command("show", "Show a queue: `jobqueue queues NAME` is the same.", talking(show), _add_name),
    Command("pause", "Pause a queue: its jobs wait, those that run go on.", talking(pause), _add_pause),
    Command("resume", "Resume a paused queue.", talking(resume), _add_name),
    Command(
        "simulate",
        "Forecast a queue under other settings and loads.",
        talking(simulate, timeout_s=TIMEOUT_S),
        add_question,
    ),
    Command("set", "Change settings of a queue at once.", talking(change), _add_changes),
)
