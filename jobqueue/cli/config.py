"""`jobqueue config`: makes, checks and shows the settings, and compares them with a running server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobqueue.backend.journal import room
from jobqueue.cli.command import Command
from jobqueue.cli.settings import CONFIG_FILE, FLAGS, add_flags, file_of, overrides_of
from jobqueue.config.load import trace

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser

SMALL: Final = (
    "warning: journal.bytes_max is {bytes_max}, and the records that statuses.jobs_max and statuses.bytes_max allow can"
    " fill the journal's folder for good: set it to {enough_bytes} bytes, or bound the records"
)


def init(options: argparse.Namespace) -> int:
    """Write a settings file with every setting at its default, commented."""
    from jobqueue.cli import new_files
    from jobqueue.config import default_file

    new_files.write({options.file: default_file.render()})
    print(f"wrote {options.file}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Print every fault of the settings, or that there is none, and the sources."""
    loaded = trace(file_of(options), environ=os.environ, overrides=overrides_of(options))
    print(f"configuration OK: {loaded.sources}")
    journal, statuses = loaded.settings.journal, loaded.settings.statuses
    if journal.dir is not None:
        records = {"records_max": statuses.jobs_max, "record_bytes_max": statuses.bytes_max}
        if journal.bytes_max < room.least_bytes(**records):
            enough = room.enough_bytes(**records)
            print(SMALL.format(bytes_max=journal.bytes_max, enough_bytes=enough), file=sys.stderr)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print the settings in effect, each with its source."""
    loaded = trace(file_of(options), environ=os.environ, overrides=overrides_of(options))
    print(loaded.show(changed=options.changed), end="")
    return 0


def diff(options: argparse.Namespace) -> int:
    """Compare the settings with those of a running server."""
    from jobqueue.cli.remote import config_diff

    return config_diff.RUN(options)


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


def _add_file(parser: Parser) -> None:
    parser.add_argument(
        "file", nargs="?", type=Path, default=CONFIG_FILE, metavar="FILE", help=f"the new file (default: {CONFIG_FILE})"
    )


def _add_server(parser: Parser) -> None:
    from jobqueue.cli.remote import server_flags

    server_flags.add_flags(parser)
    add_flags(parser)


def _add_changed(parser: Parser) -> None:
    parser.add_argument("--changed", action="store_true", help="only the settings that are not at their defaults")
    add_flags(parser)


COMMANDS = (
    Command("init", "Write a settings file: every setting with its default and a comment.", init, _add_file),
    Command("check", "Check the settings: print every error, or confirm them with their sources.", check, add_flags),
    Command("show", "Print the settings in effect, each with its source.", show, _add_changed),
    Command("diff", "Compare the settings with those of a running server.", diff, _add_server),
    Command("default", "Print a settings file: every setting with its default and a comment.", default),
    Command("schema", "Print the JSON Schema of a settings file.", schema),
    Command("reference", "Print the reference page of all settings, in Markdown.", reference),
)
