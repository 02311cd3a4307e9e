"""`jobqueue reload`: what SIGHUP does, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.visible import visible

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.remote.output import Output


class Reload(msgspec.Struct, frozen=True):
    """The answer to a reload: names of settings."""

    changed: tuple[str, ...] = ()
    restart_required: tuple[str, ...] = ()


def reload(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Let the server read its settings again; print what has changed."""
    document = connection.ask("POST", "/v1/server:reload")
    if not output.is_table:
        output.document(document)
        return 0
    changes: Reload = seen(document, Reload)
    lines = [*changes.changed, *(f"{name}  (with a restart)" for name in changes.restart_required)]
    for line in lines or ["nothing has changed"]:
        output.line(visible(line, 300))
    return 0


COMMANDS = (Command("", "Let the server read its settings again, as SIGHUP does.", talking(reload), add_flags),)
