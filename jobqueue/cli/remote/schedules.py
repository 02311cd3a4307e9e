"""`jobqueue schedules`: lists, shows, puts, runs, pauses, resumes and deletes schedules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.remote.submit import run_to_end
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import clock, since
from jobqueue.cli.terminal.visible import visible
from jobqueue.cli.values import assignment, duration
from jobqueue.duration import spell

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output


class Last(msgspec.Struct, frozen=True):
    """The latest tick, as far as it is shown."""

    at: datetime
    drift_s: float = 0.0


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule, as far as it is shown."""

    name: str
    source: str
    type: str
    every_s: float | None = None
    cron: str | None = None
    tz: str = "UTC"
    pause: dict[str, Any] | None = None
    next_at: datetime | None = None
    next_runs: tuple[datetime, ...] = ()
    last: Last | None = None
    error: str | None = None
    submitted_total: int = 0
    skipped_total: int = 0
    rejected_total: int = 0
    missed_total: int = 0

    @property
    def times(self) -> str:
        """When its ticks come."""
        if self.cron is None:
            return f"every {spell(self.every_s)}"
        return self.cron if self.tz == "UTC" else f"{self.cron} {self.tz}"

    @property
    def next(self) -> str:
        """When the next tick comes, in words."""
        if self.pause is not None:
            return "paused"
        if self.next_at is None:
            return "never"
        return f"in {spell(max(0.0, (self.next_at - datetime.now(UTC)).total_seconds()))}"


COLUMNS = (
    Column("schedule", lambda schedule: schedule.name, cut=40, flexible=True),
    Column("type", lambda schedule: schedule.type, cut=40, flexible=True),
    Column("times", lambda schedule: schedule.times, cut=60, flexible=True),
    Column("next", lambda schedule: schedule.next, style=lambda schedule: "yellow" if schedule.pause else ""),
    Column("latest", lambda schedule: since(None if schedule.last is None else schedule.last.at), right=True),
    Column("submitted", lambda schedule: f"{schedule.submitted_total:,}", right=True, drop=2),
    Column("skipped", lambda schedule: f"{schedule.skipped_total:,}", right=True, drop=4),
    Column("rejected", lambda schedule: f"{schedule.rejected_total:,}", right=True, drop=3),
    Column("missed", lambda schedule: f"{schedule.missed_total:,}", right=True, drop=5),
    Column("from", lambda schedule: schedule.source, drop=6),
)


def listing(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print all schedules."""
    output.listing(connection.schedules(), COLUMNS, Schedule, id="name")
    return 0


def show(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print one schedule, with its next instants."""
    return _print(output, connection.read(_path(options.name)))


def put(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Add a schedule, or replace it."""
    given = {
        "type": options.type,
        "args": dict(options.assignments) or None,
        "every_s": options.every,
        "cron": options.cron,
        "tz": options.tz,
        "queue": options.queue,
        "priority": options.priority,
        "jitter_s": options.jitter,
        "overlap": options.overlap,
        "catch_up": options.catch_up,
    }
    body = {name: value for name, value in given.items() if value is not None}
    return _print(output, connection.ask("PUT", _path(options.name), body))


def delete(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Delete a schedule; its jobs stay."""
    connection.delete_schedule(options.name)
    output.say(f"{visible(options.name, 100)} is deleted")
    return 0


def run(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Submit its job now."""
    return run_to_end(connection, output, connection.run_schedule(options.name), wait_s=None)


def pause(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Have it give no ticks."""
    return _print(output, connection.pause_schedule(options.name))


def resume(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Have it give ticks again."""
    return _print(output, connection.resume_schedule(options.name))


def _print(output: Output, document: dict[str, Any]) -> int:
    if not output.is_table:
        output.document(document, id="name")
        return 0
    schedule: Schedule = seen(document, Schedule)
    output.table(COLUMNS, [schedule])
    output.line("")
    if schedule.error is not None:
        output.line(f"rejected: {visible(schedule.error, 200)}")
    for instant in schedule.next_runs:
        output.line(f"next: {clock(instant)}")
    return 0


def completed(words: list[str]) -> list[str]:
    """Write `schedules` as `schedules list`."""
    first = words[0] if words else ""
    return ["list", *words] if not first or (first.startswith("-") and first not in ("-h", "--help")) else words


def _path(name: str) -> str:
    return f"/v1/schedules/{quote(name, safe='')}"


def _add_name(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the schedule")
    add_flags(parser)


def _add_schedule(parser: Parser) -> None:
    parser.intermixed = True
    parser.add_argument("name", metavar="NAME", help="the schedule")
    parser.add_argument("type", metavar="TYPE", help="the handler of its jobs")
    parser.add_argument(
        "assignments", nargs="*", default=[], type=assignment, metavar="NAME=VALUE", help="an argument of the jobs"
    )
    parser.add_argument("--every", type=duration, metavar="DURATION", help="the interval, such as 5m")
    parser.add_argument("--cron", metavar="TEXT", help="minute, hour, day, month, weekday, such as '0 3 * * *'")
    parser.add_argument("--tz", metavar="ZONE", help="the time zone of --cron, such as Europe/Berlin")
    parser.add_argument("--queue", metavar="NAME", help="the queue that holds the jobs")
    parser.add_argument("--priority", type=int, metavar="N", help="0 to 9, 9 first")
    parser.add_argument("--jitter", type=duration, metavar="DURATION", help="each tick up to so much later, at random")
    parser.add_argument(
        "--overlap", choices=("skip", "queue", "replace"), help="what a tick does while the last job is live"
    )
    parser.add_argument(
        "--catch-up", choices=("none", "one", "all"), help="which ticks of instants that have passed still come"
    )
    add_flags(parser)


COMMANDS = (
    Command("list", "List the schedules: `jobqueue schedules` is the same.", talking(listing), add_flags),
    Command("show", "Show a schedule, with its next instants.", talking(show), _add_name),
    Command("put", "Add a schedule, or replace it.", talking(put), _add_schedule),
    Command("run", "Submit the job of a schedule now.", talking(run), _add_name),
    Command("pause", "Pause a schedule: it gives no ticks.", talking(pause), _add_name),
    Command("resume", "Resume a paused schedule.", talking(resume), _add_name),
    Command("delete", "Delete a schedule; its jobs stay.", talking(delete), _add_name),
)
