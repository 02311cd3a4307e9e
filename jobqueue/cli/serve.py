"""`jobqueue serve`: serves a queue over HTTP."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from jobqueue.cli.command import Command
from jobqueue.cli.settings import add_flags, file_of, overrides_of
from jobqueue.config.load import Loaded, trace
from jobqueue.errors import ConfigError
from jobqueue.process.imports import without_collections
from jobqueue.process.inherited_sockets import inherited_sockets

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser

DEMO = "jobqueue.demo"
# Not from docstrings: -OO drops those.
SERVE = "Serve a queue until SIGTERM or SIGINT; SIGHUP reloads the settings."


def serve(options: argparse.Namespace) -> int:
    """Serve a queue until SIGTERM or SIGINT; SIGHUP reloads the settings."""
    file, overrides = file_of(options), overrides_of(options)
    loaded = trace(file, environ=os.environ, overrides=overrides)
    if options.reload:
        if inherited_sockets.all:
            raise ConfigError("--reload can't serve inherited sockets: start the server without it, or not as a unit")
        from jobqueue.cli import reloader

        return reloader.run(options, loaded.settings)
    with without_collections():
        from jobqueue import server
        from jobqueue.cli import target

    try:
        queue = target.find(options.target)
    except target.BadTarget as error:
        print(f"jobqueue serve: {error}", file=sys.stderr)
        return 2
    if options.open:
        from jobqueue.cli import browser

        browser.open_when_ready(loaded.settings.server)

    def load_again() -> Loaded:
        again = file or file_of(options)
        if again is not None and again.exists() and not again.is_file():
            # A pipe is empty by now, and would be read as the defaults.
            raise ConfigError(f"{again}: not a regular file, so it can't be reloaded")
        return trace(again, environ=os.environ, overrides=overrides)

    return server.serve(queue.service, loaded, load=load_again)


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "target",
        nargs="?",
        default=DEMO,
        metavar="TARGET",
        help="MODULE:ATTRIBUTE or PATH.py:ATTRIBUTE of the JobQueue; `:queue` may be left out "
        "(default: the demo handlers echo, sleep, fail, spin, digest)",
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="for development: start anew whenever the target's folder or the settings change; jobs are lost",
    )
    parser.add_argument("--open", action="store_true", help="open the web console in a browser once it is ready")
    add_flags(parser)


COMMANDS = (Command("", SERVE, serve, _arguments),)
