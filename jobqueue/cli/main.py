"""The command line: `jobqueue serve`, `jobqueue config check|show|default|schema|reference`, `jobqueue key new`.

Exit codes: 0 for done, 1 for a server that failed, 2 for an invalid command line, settings or
target. Each command imports its modules when it runs, so that a fault
in the settings is reported at once, and without the server's packages.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueue import __version__
from jobqueue.build import build, interpreter
from jobqueue.cli.parser import Parser
from jobqueue.config.load import Override, load, trace
from jobqueue.errors import ConfigError
from jobqueue.paths import written_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.config import Settings

CONFIG_FILE = Path("config.yaml")
DEMO = "jobqueue.demo"
FLAGS = {
    "host": ("server.host", "ADDRESS", "address to listen on"),
    "port": ("server.port", "N", "port to listen on; 0 lets the system choose"),
    "workers": ("queues.default.workers", "N", "maximum number of jobs that run at once"),
    "capacity": ("queues.default.capacity", "N", "maximum number of live jobs; further submissions are rejected"),
    "discipline": (
        "queues.default.discipline",
        "NAME",
        "order in which queued jobs start: fifo, lifo, priority, fair or adaptive",
    ),
}
# Not from docstrings: -OO drops those.
SERVE = "Serve a queue until SIGTERM or SIGINT; SIGHUP reloads the settings."
EPILOG = "Exit codes: 0 done, 1 the server failed, 2 the command line, the settings or the target is invalid."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(argv)
    try:
        command: int = options.run(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return command


def serve(options: argparse.Namespace) -> int:
    """Serve a queue until SIGTERM or SIGINT; SIGHUP reloads the settings."""
    file, overrides = _config_file(options), _overrides(options)
    loaded = trace(file, environ=os.environ, overrides=overrides)
    from jobqueue import server
    from jobqueue.cli import target

    try:
        queue = target.find(options.target)
    except target.BadTarget as error:
        print(f"jobqueue serve: {error}", file=sys.stderr)
        return 2

    def load_again() -> Settings:
        again = file or _config_file(options)
        if again is not None and again.exists() and not again.is_file():
            # A pipe is empty by now, and would be read as the defaults.
            raise ConfigError(f"{again}: not a regular file, so it can't be reloaded")
        return load(again, environ=os.environ, overrides=overrides)

    return server.serve(queue.service, loaded.settings, load=load_again, sources=loaded.sources)


def check(options: argparse.Namespace) -> int:
    """Print every fault of the settings, or that there is none, and the sources."""
    loaded = trace(_config_file(options), environ=os.environ, overrides=_overrides(options))
    print(f"configuration OK: {loaded.sources}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print the settings in effect, each with its source."""
    print(trace(_config_file(options), environ=os.environ, overrides=_overrides(options)).show(), end="")
    return 0


def default(options: argparse.Namespace) -> int:
    """Print a settings file with every setting at its default, commented."""
    from jobqueue.config import default_file

    print(default_file.render(), end="")
    return 0


def schema(options: argparse.Namespace) -> int:
    """Print the JSON Schema of a settings file."""
    from jobqueue.config import json_schema

    print(json_schema.render(), end="")
    return 0


def reference(options: argparse.Namespace) -> int:
    """Print the page of documentation that lists every setting."""
    from jobqueue.config import reference as settings_reference

    print(settings_reference.render({setting: f"--{flag}" for flag, (setting, _, _) in FLAGS.items()}), end="")
    return 0


def new_key(options: argparse.Namespace) -> int:
    """Print a new API key, and its entry in the settings."""
    from jobqueue.cli import key

    made, entry = key.new(options.name, key.scopes_in(options.scope), options.keys_file)
    print("The key; it is kept nowhere, and shown this once. Clients take it from JOBQUEUE_KEY:", file=sys.stderr)
    print(made.text, flush=True)
    if options.keys_file is not None:
        print(f"Added to {options.keys_file}: {options.name}. A running server reads it at a SIGHUP.", file=sys.stderr)
        return 0
    below = "".join(f"    {line}\n" for line in entry.splitlines())
    print(f"In the settings, beside the keys that are there:\n\nauth:\n  keys:\n{below}", end="", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="jobqueue", description="A self-contained job queue.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"jobqueue {__version__}, {build()}, {interpreter()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    settings = _settings_flags()

    command = commands.add_parser("serve", help="serve a queue over HTTP", description=SERVE, parents=[settings])
    command.add_argument(
        "target",
        nargs="?",
        default=DEMO,
        metavar="TARGET",
        help="MODULE:ATTRIBUTE or PATH.py:ATTRIBUTE of the JobQueue; `:queue` may be left out "
        "(default: the demo handlers echo, sleep, fail, spin, digest)",
    )
    command.set_defaults(run=serve)

    config = commands.add_parser("config", help="check or show the settings")
    parts = config.add_subparsers(metavar="COMMAND", required=True)
    for name, run, parents, text in (
        ("check", check, [settings], "Check the settings: print every error, or confirm them with their sources."),
        ("show", show, [settings], "Print the settings in effect, each with its source."),
        ("default", default, [], "Print a settings file: every setting with its default and a comment."),
        ("schema", schema, [], "Print the JSON Schema of a settings file."),
        ("reference", reference, [], "Print the reference page of all settings, in Markdown."),
    ):
        command = parts.add_parser(name, help=text, description=text, parents=parents)
        command.set_defaults(run=run)
    _add_key_commands(commands)
    return parser


def _add_key_commands(commands: argparse._SubParsersAction[Parser]) -> None:
    parts = commands.add_parser("key", help="make API keys").add_subparsers(metavar="COMMAND", required=True)
    text = "Draw an API key: print it, and, on standard error, its entry in the settings, which has the SHA-256 only."
    command = parts.add_parser("new", help=text, description=text)
    command.add_argument(
        "name", metavar="NAME", help="name of the caller in settings, logs and quotas; a-z, 0-9, - and _"
    )
    command.add_argument(
        "--scope", required=True, metavar="SCOPES", help="what it may do: submit, read, operate, admin; `submit,read`"
    )
    command.add_argument(
        "--keys-file",
        type=Path,
        metavar="PATH",
        help="add the entry to this file (auth.keys_file); without it there, it is made",
    )
    command.set_defaults(run=new_key)


def _settings_flags() -> Parser:
    parser = Parser(add_help=False)
    group = parser.add_argument_group("settings; they override the environment (JOBQUEUE_SERVER__PORT) and the file")
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"settings file (default: {CONFIG_FILE} in the current folder, if it exists)",
    )
    for name, (setting, metavar, text) in FLAGS.items():
        group.add_argument(f"--{name}", metavar=metavar, help=f"{text} ({setting})")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help="any setting, by its full name",
    )
    return parser


def _assignment(text: str) -> Override:
    setting, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} has no '='; write it as server.port=9000")
    return Override(flag=f"--set {setting}", setting=setting, text=value)


def _config_file(options: argparse.Namespace) -> Path | None:
    given: Path | None = options.config
    if given is None:
        return CONFIG_FILE if CONFIG_FILE.exists() else None
    try:
        return written_path(given)
    except ValueError as error:
        raise ConfigError(f"--config: {error}") from None


def _overrides(options: argparse.Namespace) -> list[Override]:
    given = {name: getattr(options, name) for name in FLAGS}
    flags = [Override(f"--{name}", FLAGS[name][0], text) for name, text in given.items() if text is not None]
    return [*options.set, *flags]
