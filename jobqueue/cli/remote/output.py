"""The output of a command: tables for a terminal, JSON for programs, ids for other commands.

Rules:

1. Without `--output` a terminal gets a table, and a pipe one JSON document per line.
2. Standard output has the result alone; remarks and progress go to standard error, and `--quiet` drops them.
3. JSON has the documents of the API.
"""

from __future__ import annotations

import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any, Literal

from jobqueue.cli.terminal import table
from jobqueue.cli.terminal.visible import visible, visible_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.terminal.table import Column

Form = Literal["table", "json", "jsonl", "id"]
BLOCK_ROWS = 500
"""Rows of one table; more of them make further ones, so that a list of any length passes through."""


def add_flags(parser: Parser) -> None:
    """Add the flags of the output."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o",
        "--output",
        choices=("table", "json", "jsonl", "id"),
        help="form of the output (default: table on a terminal, jsonl in a pipe)",
    )
    group.add_argument("--no-color", action="store_true", help="no colours (also by the variable NO_COLOR)")
    group.add_argument("-q", "--quiet", action="store_true", help="no remarks and no progress on standard error")


class Output:
    """Standard output and standard error of one command."""

    def __init__(self, options: argparse.Namespace, out: IO[str] | None = None, err: IO[str] | None = None) -> None:
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err
        self.form: Form = options.output or ("table" if self.out.isatty() else "jsonl")
        self.colour = not options.no_color and not os.environ.get("NO_COLOR")
        self.quiet: bool = options.quiet

    @property
    def is_table(self) -> bool:
        """Whether a person reads it."""
        return self.form == "table"

    def say(self, text: str) -> None:
        """Write a remark."""
        if not self.quiet:
            print(text, file=self.err, flush=True)

    def line(self, text: str) -> None:
        """Write one line of the result."""
        print(text, file=self.out)

    def bytes(self, content: bytes) -> None:
        """Write bytes of the result as they are."""
        self.out.buffer.write(content)  # type: ignore[union-attr]  # standard output has bytes below its text

    def listing(
        self,
        documents: Iterable[dict[str, Any]],
        columns: Sequence[Column],
        view: type | None = None,
        *,
        id: str = "id",
    ) -> int:
        """Write a list, and return its length.

        Args:
            documents: As the server gave them.
            columns: Of the table; they read the documents, or the structs that `view` makes of them.
            id: The member for `-o id`.
        """
        if self.form != "table":
            return self._machine(documents, id)
        count = 0
        block: list[Any] = []
        for document in documents:
            block.append(document if view is None else seen(document, view))
            count += 1
            if len(block) == BLOCK_ROWS:
                self.table(columns, block)
                block.clear()
        if block:
            self.table(columns, block)
        return count

    def table(self, columns: Sequence[Column], items: Sequence[Any]) -> None:
        """Write a table."""
        console = table.console(self.out, colour=self.colour)
        if console is not None:
            console.print(table.rich_table(columns, items, console.width))
            return
        for line in table.plain(columns, items):
            print(line, file=self.out)

    def document(self, document: dict[str, Any], *, id: str = "id") -> None:
        """Write one document for a program."""
        match self.form:
            case "id":
                self.line(visible(str(document.get(id) or "")))
            case "json" | "table":
                self.line(pretty(document))
            case "jsonl":
                self.line(compact(document))

    def _machine(self, documents: Iterable[dict[str, Any]], id: str) -> int:
        count = 0
        for document in documents:
            if self.form == "json":
                self.out.write("[\n" if not count else ",\n")
                self.out.write(pretty(document))
            else:
                self.document(document, id=id)
                self.out.flush()
            count += 1
        if self.form == "json":
            self.line("\n]" if count else "[]")
        return count


def seen(document: object, view: type[Any]) -> Any:
    """Return a document as a struct. Raises ErrorAnswer if it has another form."""
    import msgspec

    from jobqueue.client import ErrorAnswer

    try:
        return msgspec.convert(document, view)
    except msgspec.ValidationError as error:
        raise ErrorAnswer(200, f"not an answer of this API: {error}") from error


def pretty(value: Any) -> str:
    """Return JSON for a person."""
    return visible_json(json.dumps(value, ensure_ascii=False, indent=2))


def compact(value: Any) -> str:
    """Return JSON in one line."""
    return visible_json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
