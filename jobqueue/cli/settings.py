"""The settings on a command line: the flags of `serve` and `config`, and the file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueue.config.load import Override
from jobqueue.errors import ConfigError
from jobqueue.paths import written_path

if TYPE_CHECKING:
    from jobqueue.cli.parser import Parser

CONFIG_FILE = Path("config.yaml")
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


def add_flags(parser: Parser) -> None:
    """Add `--config`, `--set` and the flags of frequent settings."""
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


def file_of(options: argparse.Namespace) -> Path | None:
    """Return the settings file; None if there is none."""
    given: Path | None = options.config
    if given is None:
        return CONFIG_FILE if CONFIG_FILE.exists() else None
    try:
        return written_path(given)
    except ValueError as error:
        raise ConfigError(f"--config: {error}") from None


def overrides_of(options: argparse.Namespace) -> list[Override]:
    """Return the settings of the flags."""
    given = {name: getattr(options, name) for name in FLAGS}
    flags = [Override(f"--{name}", FLAGS[name][0], text) for name, text in given.items() if text is not None]
    return [*options.set, *flags]


def _assignment(text: str) -> Override:
    setting, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} has no '='; write it as server.port=9000")
    return Override(flag=f"--set {setting}", setting=setting, text=value)
