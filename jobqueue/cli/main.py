"""The command line: `jobqueue COMMAND …`, from rows of commands.

Rules:

1. A group's module is imported when its name is the first word, and not otherwise: `serve` pays nothing for the rest.
2. Each command imports what it works with when it runs, so that a fault in the settings is reported at once, and
   without the server's packages.
3. Exit codes: 0 done; 1 the server failed, the job failed, or nothing matched; 2 an invalid command line, settings or
   target; 3 rejected by the server; 4 no server answers (`remote.failures`).
4. A reader that closes the pipe, and Ctrl-C, end a command without a message, with the exit code of that signal.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from jobqueue import __version__
from jobqueue.build import build, interpreter
from jobqueue.cli.command import Group
from jobqueue.cli.parser import BROKEN_PIPE, INTERRUPTED, Parser
from jobqueue.errors import ConfigError
from jobqueue.extras import MissingExtra

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import ModuleType

    from jobqueue.cli.command import Command

GROUPS = (
    Group("serve", "serve a queue over HTTP", "serve"),
    Group("init", "begin a project: handlers, their test, settings", "scaffold"),
    Group("status", "is the server ready? A health check", "remote.status"),
    Group("findings", "what is wrong now, and what to do", "remote.findings"),
    Group("top", "the queues and types, live", "remote.top"),
    Group("types", "the types of jobs", "remote.types"),
    Group("submit", "submit a job", "remote.submit"),
    Group("jobs", "list, read and change jobs", "remote.jobs"),
    Group("flow", "submit a graph of jobs, show, cancel and retry it", "remote.flow"),
    Group("queues", "list and change queues", "remote.queues"),
    Group("schedules", "list and change schedules", "remote.schedules"),
    Group("events", "the events of all jobs, live", "remote.events"),
    Group("topics", "what is published, and its subscribers", "remote.topics"),
    Group("errors", "failed jobs, grouped by their errors", "remote.errors"),
    Group("callers", "callers and keys, what they use, and blocks", "remote.callers"),
    Group("webhooks", "the receivers of webhooks, and secrets for them", "remote.webhooks"),
    Group("config", "make, check, show and compare the settings", "config"),
    Group("reload", "let the server read its settings again", "remote.reload"),
    Group("drain", "let the server finish its jobs and end", "remote.drain"),
    Group("journal", "check, repair and read the journal, offline", "journal"),
    Group("key", "make API keys", "key"),
    Group("openapi", "the description of the API", "remote.openapi"),
    Group("completions", "completions for a shell", "completions"),
)
# Not from docstrings: -OO drops those.
EPILOG = (
    "Exit codes: 0 done; 1 the server or the job failed, or nothing matched; 2 the command line, the settings or the "
    "target is invalid; 3 the server rejected it; 4 no server answers."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] in [group.name for group in groups(words[0])[len(GROUPS) :]]:
            from jobqueue.cli import checkout

            return checkout.run(words[0], words[1:])
        options = parser_of(words).parse_args(completed(words))
        code: int = options.run(options)
        sys.stdout.flush()
    except (ConfigError, MissingExtra) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter writes the rest of its buffer at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


def parser_of(words: Sequence[str]) -> Parser:
    """Return the parser of a command line: with the arguments of its group, and the names of all others."""
    first = words[0] if words else ""
    return _parser(groups(first), [group.name for group in GROUPS if group.name == first])


def whole_parser() -> Parser:
    """Return the parser with the arguments of all commands."""
    return _parser(groups(""), [group.name for group in GROUPS])


def groups(first: str) -> tuple[Group, ...]:
    """Return the groups that there are; those of a checkout are looked for unless the first word is another one."""
    if any(group.name == first for group in GROUPS):
        return GROUPS
    from jobqueue.cli import checkout

    return (*GROUPS, *checkout.groups())


def completed(words: list[str]) -> list[str]:
    """Write a command in full: each group knows its own short forms."""
    for group in GROUPS:
        if words and group.name == words[0] and hasattr(module := _module(group), "completed"):
            return [words[0], *module.completed(words[1:])]
    return words


def _module(group: Group) -> ModuleType:
    return import_module(f"jobqueue.cli.{group.module}")


def _parser(rows: Sequence[Group], loaded: Sequence[str]) -> Parser:
    parser = Parser(prog="jobqueue", description="A self-contained job queue.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"jobqueue {__version__}, {build()}, {interpreter()}")
    parts = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in rows:
        commands: tuple[Command, ...] = _module(group).COMMANDS if group.name in loaded else ()
        if commands and not commands[0].word:
            _add(parts, commands[0], group.name, group.text)
            continue
        below = parts.add_parser(group.name, help=group.text)
        if commands:
            inner = below.add_subparsers(metavar="COMMAND", required=True)
            for command in commands:
                _add(inner, command, command.word, command.text)
    return parser


def _add(parts: argparse._SubParsersAction[Parser], command: Command, word: str, text: str) -> None:
    parser = parts.add_parser(word, help=text, description=command.text, epilog=command.epilog)
    if command.arguments is not None:
        command.arguments(parser)
    parser.set_defaults(run=command.run)
