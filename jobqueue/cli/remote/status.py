"""`jobqueue status`: whether the server is ready, in one screen, and as an exit code for health checks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jobqueue.cli.command import Command
from jobqueue.cli.remote import queues, store_line
from jobqueue.cli.remote.connection import Connection, optional, talking
from jobqueue.cli.remote.failures import REJECTED
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.visible import visible
from jobqueue.client.protocol import ErrorAnswer, error_in
from jobqueue.duration import spell
from jobqueue.errors import Draining, JournalFailed, Recovering, Refused, StoreUnavailable

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.remote.output import Output

TIMEOUT_S = 3.0
"""Of each request: a health check has little time."""

TEXT = "Show whether the server is ready, and its queues. Exit code: 0 ready, 3 not, 4 unreachable."


def status(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the state of the server; with `--quiet` nothing, after one request that needs no key."""
    state, degraded = health(connection)
    code = 0 if state == "ready" else REJECTED
    if output.quiet:
        return code
    server = optional(connection, "/v1/server") or {}
    listed = optional(connection, "/v1/queues")
    told = {"url": connection.url, "status": state, "degraded": degraded, "server": server or None, "queues": None}
    if listed is not None:
        told["queues"] = listed.get("queues")
    if not output.is_table:
        output.document(told, id="status")
        return code
    for line in _head(told):
        output.line(line)
    if listed is None:
        output.line("  (the queues need a key with the scope read: JOBQUEUE_KEY)")
        return code
    output.line("")
    rows = queues.views(listed)
    output.table(queues.COLUMNS, rows)
    for line in queues.warnings(rows):
        output.line(line)
    return code


def health(connection: Connection) -> tuple[str, list[str]]:
    """Return the state of a server and what is degraded.

    States are `ready`, `draining`, `recovering`, `journal failed`, `store unavailable` or `overloaded`.
    """
    answer = connection.answer("/readyz")
    if answer.status == 200:
        try:
            document = json.loads(answer.body)
        except ValueError:
            document = None
        if not isinstance(document, dict) or document.get("status") != "ready":
            raise ErrorAnswer(200, "the address is not that of a job server")
        return "ready", [visible(str(part), 200) for part in document.get("degraded") or ()]
    error = error_in(answer)
    if isinstance(error, Refused):
        kinds: dict[type[Refused], str] = {Draining: "draining", Recovering: "recovering"}
        kinds |= {JournalFailed: "journal failed", StoreUnavailable: "store unavailable"}
        return kinds.get(type(error), "overloaded"), []
    raise error


def _head(told: dict[str, Any]) -> list[str]:
    server = told["server"] or {}
    words = [f"jobqueue {server['version']}" if "version" in server else "jobqueue", "at", told["url"]]
    lines = [f"{visible(' '.join(words), 200)}: {told['status']}"]
    facts = []
    if isinstance(uptime_s := server.get("uptime_s"), int | float):
        facts.append(f"up {spell(uptime_s)}")
    facts += [f"{label} {server[name]}" for name, label in (("build", "form"), ("pid", "pid")) if name in server]
    process = server.get("process")
    if isinstance(process, dict) and isinstance(rss := process.get("rss_bytes"), int):
        facts.append(f"{rss / 2**20:,.0f} MiB")
    if isinstance(lag_s := server.get("loop_lag_s"), int | float):
        facts.append(f"loop lag {spell(lag_s)}")
    live, terminal = server.get("jobs_live"), server.get("jobs_terminal")
    if isinstance(live, int) and isinstance(terminal, int):
        facts.append(f"{live:,} live and {terminal:,} terminal jobs")
    if facts:
        lines.append(f"  {visible(', '.join(facts), 200)}")
    if (kept := store_line.of_server(server)) is not None:
        lines.append(f"  {visible(kept, 300)}")
    return [*lines, *(f"  degraded: {part}" for part in told["degraded"])]


COMMANDS = (Command("", TEXT, talking(status, timeout_s=TIMEOUT_S), add_flags),)
