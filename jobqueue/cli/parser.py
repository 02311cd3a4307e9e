"""The command line of a program: a Parser with one-line errors that suggest a correction.

Rules:

1. A mistyped command, choice or flag is answered with the nearest one; else the line names the help.
2. A missing command is answered with those that exist.
3. Flags can't be abbreviated: a flag that is added later could change what an abbreviation means.
4. Flags and positional arguments may stand in any order, in a parser with `intermixed`.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_CHOICE = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)$", re.DOTALL)
_NUMBER = re.compile(r"invalid (int|float) value: ('.*')$", re.DOTALL)


INTERRUPTED = 130
"""The exit code of a program that a Ctrl-C has ended, as a shell gives it (128 + SIGINT)."""

BROKEN_PIPE = 141
"""The exit code of a program that writes into a pipe without a reader (128 + SIGPIPE)."""


def end_with(main: Callable[[], int]) -> NoReturn:
    """Run a main function and exit with its code; a Ctrl-C exits without a traceback."""
    try:
        code = main()
    except KeyboardInterrupt:
        print("\rinterrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser with errors of one line.

    Attributes:
        intermixed: Positional arguments may be divided by flags; a plain parser takes the first row of them only.
    """

    intermixed = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the base class, for a parser with `intermixed` in two passes."""
        if not self.intermixed:
            return super().parse_known_args(args, namespace)
        self.intermixed = False  # the passes call this method
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.intermixed = True

    def error(self, message: str) -> NoReturn:
        """Print the error and a correction, and exit with 2."""
        self.exit(2, f"{self.prog}: error: {self._corrected(message)}\n")

    def _corrected(self, message: str) -> str:
        if match := _NUMBER.search(message):
            kind = "a whole number" if match[1] == "int" else "a number"
            return f"{message[: match.start()]}must be {kind}, not {match[2]}"
        if match := _CHOICE.search(message):
            choices = re.findall(r"[^\s',]+", match[2])  # quoted until Python 3.11, bare from 3.12 on
            if near := difflib.get_close_matches(match[1], choices, n=1):
                return f"{message[: match.start()]}invalid choice: '{match[1]}', did you mean '{near[0]}'?"
            return message
        unknown = re.search(r"unrecognized arguments: (--[^ =]+)", message)
        if unknown and (near := difflib.get_close_matches(unknown[1], self._flags(), n=1)):
            return f"{message}, did you mean '{near[0]}'?"
        if message.endswith("arguments are required: COMMAND"):
            return f"a command is missing; there are: {', '.join(self._commands())}"
        return f"{message}; see {self.prog} --help"

    def _commands(self) -> list[str]:
        subparsers = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return [name for action in subparsers for name in action.choices]

    def _flags(self) -> list[str]:
        """Return the flags of this command and of those below it: only the outermost parser tells of unknown ones."""
        flags = list(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                flags += [flag for parser in action.choices.values() for flag in parser._flags()]
        return flags
