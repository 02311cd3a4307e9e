"""`jobqueue types`: what a client may submit, how its jobs have ended, and the end of a quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.output import compact, pretty, seen
from jobqueue.cli.remote.queues import Quarantined
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import clock
from jobqueue.cli.terminal.visible import visible
from jobqueue.duration import spell

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output


class Quantiles(msgspec.Struct, frozen=True):
    """Estimates of durations, in seconds."""

    p50: float | None = None
    p95: float | None = None


class Type(msgspec.Struct, frozen=True, kw_only=True):
    """A type, as far as it is shown; counts are only for keys that see all jobs."""

    type: str
    queue: str
    run_in: str
    attempts_max: int
    doc: str | None = None
    timeout_s: float | None = None
    rate: str | None = None
    concurrency: int | None = None
    arguments: dict[str, Any] = {}
    queued: int | None = None
    running: int | None = None
    succeeded_total: int | None = None
    failed_total: int | None = None
    cancelled_total: int | None = None
    expired_total: int | None = None
    wait_s: Quantiles = Quantiles()
    run_s: Quantiles = Quantiles()
    quarantined: Quarantined | None = None

    @property
    def state(self) -> str:
        """Whether its jobs start; empty: the key may not know."""
        if self.quarantined is not None:
            return "quarantined"
        return "" if self.running is None else "running" if self.running else "idle"


class Types(msgspec.Struct, frozen=True):
    """The document of all types."""

    types: tuple[dict[str, Any], ...]


def _number(name: str) -> Column:
    def shown(type: Type) -> str:
        count = getattr(type, name)
        return "" if count is None else f"{count:,}"

    return Column(name.removesuffix("_total"), shown, right=True)


COLUMNS = (
    Column("type", lambda type: type.type, cut=40),
    Column("state", lambda type: type.state, style=lambda type: "red" if type.quarantined else ""),
    Column("queue", lambda type: type.queue, cut=20, drop=2),
    Column("runs in", lambda type: type.run_in, drop=3),
    _number("queued"),
    _number("running"),
    _number("succeeded_total"),
    _number("failed_total"),
    Column("run p50", lambda type: spell(type.run_s.p50), right=True),
    Column("run p95", lambda type: spell(type.run_s.p95), right=True),
)
OF_A_LIST = (*COLUMNS, Column("", lambda type: type.doc or "", cut=60, flexible=True, drop=9))


def types(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print all types, or one; with `--schema` the JSON Schema of arguments."""
    if options.name is None:
        documents = seen(connection.read("/v1/types"), Types).types
        if options.schema:
            output.line(
                pretty({each.type: each.arguments for each in (seen(document, Type) for document in documents)})
            )
            return 0
        if not output.listing(documents, OF_A_LIST, Type, id="type"):
            output.say("the server has no handlers")
            return FAILED
        return 0
    return _one(output, options, connection.read(_path(options.name)))


def release(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """End the quarantine of a type, and print it."""
    return _one(output, options, connection.ask("POST", f"{_path(options.name)}:release"))


def _one(output: Output, options: argparse.Namespace, document: dict[str, Any]) -> int:
    one: Type = seen(document, Type)
    if options.schema:
        output.line(pretty(one.arguments))
    elif output.is_table:
        output.table(COLUMNS, [one])
        for line in _screen(one):
            output.line(line)
    else:
        output.document(document, id="type")
    return 0


def _screen(shown: Type) -> Iterator[str]:
    yield ""
    if shown.doc:
        yield visible(shown.doc, 300)
    limits = [f"attempts {shown.attempts_max}"]
    limits += [f"timeout {spell(shown.timeout_s)}"] if shown.timeout_s is not None else []
    limits += [f"rate {visible(shown.rate, 40)}"] if shown.rate else []
    limits += [f"concurrency {shown.concurrency:,}"] if shown.concurrency is not None else []
    yield ", ".join(limits)
    if shown.quarantined is not None:
        until = f", next trial at {clock(shown.quarantined.until)}" if shown.quarantined.until else ""
        yield f"quarantined{until}: {visible(shown.quarantined.reason, 300)}"
    yield from arguments_in(shown.arguments)


def arguments_in(schema: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each argument in a JSON Schema of arguments."""
    definitions = schema.get("$defs")
    reference = schema.get("$ref")
    if isinstance(definitions, dict) and isinstance(reference, str):
        schema = definitions.get(reference.rpartition("/")[2], schema)
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    required = schema.get("required") or ()
    yield ""
    yield "arguments:"
    for name, of in properties.items():
        told = dict(of) if isinstance(of, dict) else {}
        default = "required" if name in required else "optional"
        if "default" in told:
            default = f"default {compact(told.pop('default'))}"
        yield f"  {visible(str(name), 60):<20} {default:<16} {visible(compact(told), 200)}"


def completed(words: list[str]) -> list[str]:
    """Write `types` as `types list`, and `types NAME` as `types show NAME`."""
    known = [command.word for command in COMMANDS]
    first = words[0] if words else ""
    if first in known or first in ("-h", "--help"):
        return words
    return ["show" if first and not first.startswith("-") else "list", *words]


def _path(name: str) -> str:
    return f"/v1/types/{quote(name, safe='')}"


def _list_arguments(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="only this one, with its arguments")
    _schema_flag(parser)


def _show_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the type")
    _schema_flag(parser)


def _release_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the type")
    add_flags(parser)
    parser.set_defaults(schema=False)


def _schema_flag(parser: Parser) -> None:
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the arguments")
    add_flags(parser)


COMMANDS = (
    Command("list", "List the types of jobs: `jobqueue types` is the same.", talking(types), _list_arguments),
    Command("show", "Show a type: `jobqueue types NAME` is the same.", talking(types), _show_arguments),
    Command("release", "End the quarantine of a type: its waiting jobs start.", talking(release), _release_arguments),
)
