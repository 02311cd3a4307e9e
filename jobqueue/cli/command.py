"""Rows of the command line: a group of commands, and one command of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser

Run = Callable[["argparse.Namespace"], int]


class Command(NamedTuple):
    """One command.

    Attributes:
        word: Its name in its group; empty: the group is this command alone.
        text: Its help.
        run: Runs it, and returns the exit code.
        arguments: Adds its arguments to its parser.
        epilog: The end of its help.
    """

    word: str
    text: str
    run: Run
    arguments: Callable[[Parser], object] | None = None
    epilog: str | None = None


class Group(NamedTuple):
    """The commands with one first word, in a module that is imported when that word is given.

    The module has `COMMANDS`, and, if words may be left out or moved, `completed(words)`, which writes them in full.

    Attributes:
        name: The first word.
        text: Its line in the help.
        module: Its name in this package.
    """

    name: str
    text: str
    module: str
