"""`jobqueue config diff`: the settings of this folder and environment against those of a running server.

A server tells the settings of its queues to any key with the scope read, and some of the others to one with admin. The
rest is not compared.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from jobqueue.cli.remote.connection import Connection, optional, talking
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.queues import CHANGEABLE, views
from jobqueue.cli.settings import file_of, overrides_of
from jobqueue.cli.terminal.visible import visible
from jobqueue.config.load import trace

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.remote.output import Output
    from jobqueue.config import Settings


def diff(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the settings that differ; exit code 1 if there are any."""
    settings = trace(file_of(options), environ=os.environ, overrides=overrides_of(options)).settings
    running = running_settings(connection)
    here = {name: value_of(settings, name) for name in running}
    here |= {f"queues.{name}": "there" for name in settings.queues if f"queues.{name}.workers" not in running}
    differing = {name: (running.get(name), value) for name, value in here.items() if running.get(name) != value}
    for name, (there, value) in differing.items():
        if output.is_table:
            output.line(f"{visible(name, 100)}: {_shown(there)} -> {_shown(value)}")
        else:
            output.document({"setting": name, "running": there, "here": value}, id="setting")
    if not differing:
        output.say(f"no difference in {len(running)} settings")
    return FAILED if differing else 0


def running_settings(connection: Connection) -> dict[str, Any]:
    """Return the settings that the server tells, by name."""
    told: dict[str, Any] = {}
    for queue in views(connection.read("/v1/queues")):
        told |= {f"queues.{queue.name}.{setting}": getattr(queue, setting) for setting in CHANGEABLE}
    server = optional(connection, "/v1/server") or {}
    process = server.get("process")
    for setting, value in (
        ("statuses.jobs_max", server.get("jobs_max")),
        ("statuses.bytes_max", server.get("jobs_bytes_max")),
        ("spool.bytes_max", server.get("spool_bytes_max")),
        ("limits.long_polls_max", server.get("long_polls_max")),
        ("log.level", process.get("log_level") if isinstance(process, dict) else None),
    ):
        if value is not None:
            told[setting] = value
    return told


def value_of(settings: Settings, name: str) -> Any:
    """Return a setting by its name; None if its queue is not there."""
    value: Any = settings
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return value


def _shown(value: Any) -> str:
    return "missing" if value is None else visible(str(value), 100)


RUN = talking(diff)
