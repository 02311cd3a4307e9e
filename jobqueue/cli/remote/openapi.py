"""`jobqueue openapi`: the description of the API, as the server gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.output import compact, pretty
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.values import path_of

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output


def openapi(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the description, or write it to a file."""
    document = connection.read("/openapi.json?types=1" if options.types else "/openapi.json")
    text = compact(document) if output.form == "jsonl" and options.output_file is None else pretty(document)
    if options.output_file is None or str(options.output_file) == "-":
        output.line(text)
        return 0
    options.output_file.write_text(f"{text}\n", encoding="utf-8")
    output.say(f"wrote {options.output_file}")
    return 0


def _arguments(parser: Parser) -> None:
    parser.add_argument("--types", action="store_true", help="with a schema for the arguments of each type")
    parser.add_argument("-O", "--output-file", type=path_of, metavar="FILE", help="write it there")
    add_flags(parser)


COMMANDS = (Command("", "Print the description of the API (OpenAPI 3.1).", talking(openapi), _arguments),)
