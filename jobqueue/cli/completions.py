"""`jobqueue completions`: a script that completes commands, flags and values in a shell."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jobqueue.cli.command import Command
from jobqueue.extras import extra

if TYPE_CHECKING:
    from jobqueue.cli.parser import Parser

SHELLS = ("bash", "zsh", "fish")
FILES = ("--config", "--key-file", "--keys-file", "--ca-file", "--cert-file", "--cert-key-file", "--output-file")


def completions(options: argparse.Namespace) -> int:
    """Print the script of a shell."""
    with extra("cli", "jobqueue completions"):
        import shtab
    from jobqueue.cli.main import whole_parser

    parser = whole_parser()
    _complete_files(parser, shtab.FILE, shtab.DIRECTORY)
    print(shtab.complete(parser, shell=options.shell))
    return 0


def _complete_files(parser: argparse.ArgumentParser, file: object, folder: object) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _complete_files(inner, file, folder)
        elif action.metavar == "TARGET" or not set(action.option_strings).isdisjoint(FILES):
            action.complete = file  # type: ignore[attr-defined]  # read by shtab
        elif action.metavar == "DIR":
            action.complete = folder  # type: ignore[attr-defined]  # read by shtab


def _arguments(parser: Parser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


TEXT = 'Print a script that completes the command line: eval "$(jobqueue completions bash)".'
COMMANDS = (Command("", TEXT, completions, _arguments),)
