"""`jobqueue events`: the events of all jobs, as they happen."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.times import clock
from jobqueue.cli.terminal.visible import visible
from jobqueue.core.job import JobState

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output
    from jobqueue.client import JobEvent

FILTERS = ("type", "queue", "group", "state")


def events(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print events until Ctrl-C; a server that restarts is waited for."""
    filters = {name: given for name in FILTERS if (given := getattr(options, name))}
    output.say(f"events of {connection.url}, from now on; Ctrl-C ends")
    for event in connection.events(retry_for_s=math.inf if options.forever else 30.0):
        told = event.data
        if "id" in told and any(told.get(name) not in wanted for name, wanted in filters.items()):
            continue
        if output.form == "id":
            output.line(visible(str(told.get("id") or "")))
        elif output.is_table:
            output.line(line_of_event(event))
        else:
            output.document({"event": event.name, **told})
        output.out.flush()
    return 0


def line_of_event(event: JobEvent) -> str:
    """Return an event in one line."""
    told = event.data
    words = [_clock(told.get("at")), f"{event.name:<11}"]
    words += [str(told[name]) for name in ("id", "type") if told.get(name) is not None]
    if isinstance(progress := told.get("progress"), dict) and event.name == "progress":
        fraction = progress.get("fraction")
        words.append(f"{100 * fraction:.0f} %" if isinstance(fraction, int | float) else "")
        words.append(str(progress.get("note") or ""))
    if isinstance(error := told.get("error"), dict):
        words.append(str(error.get("code") or ""))
    if isinstance(attempt := told.get("attempt"), int) and attempt > 1:
        words.append(f"attempt {attempt}")
    words += [str(told[name]) for name in ("until", "reason") if told.get(name) is not None]
    return visible("  ".join(word for word in words if word.strip()), 500)


def _clock(text: Any) -> str:
    try:
        return clock(datetime.fromisoformat(text))
    except (TypeError, ValueError, OverflowError):
        return "--:--:--"


def add_filters(parser: Parser) -> None:
    """Add the flags that choose jobs by what they are."""
    parser.add_argument("--type", action="append", metavar="TYPE", help="only jobs of this type; may be repeated")
    parser.add_argument("--queue", action="append", metavar="QUEUE", help="only jobs in this queue; may be repeated")
    parser.add_argument("--group", action="append", metavar="GROUP", help="only jobs of this group; may be repeated")
    parser.add_argument(
        "--state",
        action="append",
        choices=[state.value for state in JobState],
        help="only jobs that are in this state now; may be repeated",
    )


def _arguments(parser: Parser) -> None:
    add_filters(parser)
    parser.add_argument(
        "--forever", action="store_true", help="wait for a server that is away, however long (else 30 s)"
    )
    add_flags(parser)


COMMANDS = (Command("", "Print the events of all jobs, from now on.", talking(events), _arguments),)
