"""`jobqueue config diff`: the settings of this folder and environment against those of a running server.

Rules:

1. A server tells all settings in effect to a key with the scope admin, with what requests have changed since. Ids and
   digests of keys are not compared, nor the keys of `auth.keys_file`.
2. To other keys with the scope read it tells those of its queues that may change while it runs: then only these are.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from jobqueue.cli.remote.connection import Connection, optional, talking
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.queues import CHANGEABLE, views
from jobqueue.cli.settings import file_of, overrides_of
from jobqueue.cli.terminal.visible import visible
from jobqueue.config.effective import HIDDEN, effective
from jobqueue.config.load import trace

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.remote.output import Output

ONLY_QUEUES = "the key lacks the scope admin, or the server is older: only settings of queues are compared"


class Setting(msgspec.Struct, frozen=True):
    """One setting of the server, as far as it is compared and shown."""

    path: str
    value: str
    source: str = ""
    origin: str | None = None


class Told(msgspec.Struct, frozen=True):
    """All settings of the server."""

    settings: tuple[Setting, ...]


def diff(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the settings that differ; exit code 1 if there are any."""
    loaded = trace(file_of(options), environ=os.environ, overrides=overrides_of(options))
    here = {each.path: each.value for each in effective(loaded.settings, loaded.settings, [loaded])}
    document = optional(connection, "/v1/server/settings")
    if document is None:
        output.say(ONLY_QUEUES)
        running = _of_queues(connection)
        here = {path: value for path, value in here.items() if _is_changeable(path)}
    else:
        running = {each.path: each for each in seen(document, Told).settings}
    differing = list(_differences(running, here))
    for name, there, value in differing:
        if output.is_table:
            output.line(f"{visible(name, 100)}: {_told(there)} -> {visible(value or 'missing', 200)}")
        else:
            running_value, source = (None, None) if there is None else (there.value, there.source)
            output.document({"setting": name, "running": running_value, "source": source, "here": value}, id="setting")
    if not differing:
        output.say(f"no difference in {len(running)} settings")
    return FAILED if differing else 0


def _differences(running: dict[str, Setting], here: dict[str, str]) -> list[tuple[str, Setting | None, str | None]]:
    """Return names with what the server has and what is here; of a queue or a key that one side lacks, one line."""
    found: dict[str, tuple[Setting | None, str | None]] = {}
    groups = [{_group(path) for path in side} for side in (running, here)]
    for path in dict.fromkeys((*running, *here)):
        there, value, group = running.get(path), here.get(path), _group(path)
        if group in groups[0] ^ groups[1]:
            found[group] = (Setting(group, "there"), None) if there is not None else (None, "there")
        elif value != (None if there is None else there.value) and HIDDEN not in (value, there and there.value):
            found[path] = there, value
    return [(name, there, value) for name, (there, value) in found.items()]


def _group(path: str) -> str:
    """Return the queue or the key that a setting belongs to; else its own name."""
    parts = path.split(".")
    depth = 2 if parts[0] == "queues" else 3 if parts[:2] == ["auth", "keys"] else len(parts)
    return ".".join(parts[:depth])


def _is_changeable(path: str) -> bool:
    return path.startswith("queues.") and path.endswith(tuple(f".{name}" for name in CHANGEABLE))


def _of_queues(connection: Connection) -> dict[str, Setting]:
    """Return the settings that a server tells of its queues."""
    told: dict[str, Setting] = {}
    for queue in views(connection.read("/v1/queues")):
        for name in CHANGEABLE:
            path = f"queues.{queue.name}.{name}"
            told[path] = Setting(path, str(getattr(queue, name)))
    return told


def _told(there: Setting | None) -> str:
    if there is None:
        return "missing"
    where = f" ({there.origin or 'a request'})" if there.origin or there.source == "request" else ""
    return visible(f"{there.value}{where}", 300)


RUN = talking(diff)
