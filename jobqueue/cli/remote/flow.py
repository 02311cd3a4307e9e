"""`jobqueue flow`: submits a graph of jobs, lists flows, shows one, waits for its end, cancels and retries it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from jobqueue.api_limits import PAGE_MAX
from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.job_filters import LIMIT
from jobqueue.cli.remote.output import BLOCK_ROWS
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.remote.submit import FOREVER, completed, waiting
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import since
from jobqueue.cli.terminal.visible import visible
from jobqueue.cli.values import arguments, count, duration
from jobqueue.client import FlowSummary
from jobqueue.core.flow import FlowState
from jobqueue.duration import spell

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output
    from jobqueue.client import FlowDocument, FlowJob

__all__ = ["COMMANDS", "completed"]

EPILOG = (
    'A graph is JSON: {"jobs": [{"name": "fetch", "type": "fetch", "args": {…}}, {"name": "resize", "type": "resize", '
    '"after": ["fetch"]}]}. A flow that has not succeeded after --wait ends the command with exit code 1.'
)


def submit(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Submit a graph; with `--wait`, to the flow's end."""
    flow = connection.submit_flow(options.graph, idempotency_key=options.idempotency_key, retry_for_s=options.retry_for)
    if options.wait is None:
        _write(output, flow)
        return 0
    output.say(line_of(flow))
    return _end(connection, output, flow.id, None if options.wait == FOREVER else options.wait)


def listing(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print flows, newest first."""
    limit = None if options.all else options.limit
    flows = islice(connection.iter_flows(options.state, limit=min(PAGE_MAX, limit or PAGE_MAX)), limit)
    found = output.listing(map(document_of, flows), LIST_COLUMNS, FlowSummary)
    if not found:
        output.say("no flow matches" if options.state else "there are no flows")
        return FAILED
    if output.is_table and found == limit:
        output.say(f"the first {found:,}; more with --limit N or --all")
    return 0


def show(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print a flow: its state, and a row for each job."""
    flow = connection.flow(options.id)
    if flow.next_cursor is not None:
        jobs = tuple(connection.iter_flow_jobs(options.id))
        flow = msgspec.structs.replace(flow, jobs=jobs, next_cursor=None)
    _write(output, flow)
    return 0


def wait(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Wait for the end of a flow."""
    return _end(connection, output, options.id, options.timeout)


def cancel(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Cancel the live jobs of a flow."""
    _write(output, connection.cancel_flow(options.id))
    return 0


def retry(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Run a flow again from what has not succeeded."""
    _write(output, connection.retry_flow(options.id))
    return 0


def line_of(flow: FlowDocument) -> str:
    """Return a flow in one line."""
    counts = ", ".join(f"{count:,} {state}" for state, count in flow.counts.items() if count)
    again = ", submitted before" if flow.deduplicated else ""
    return visible(f"{flow.id}  {flow.state}: {counts}; {since(flow.created_at)} old{again}", 300)


def document_of(flow: FlowDocument | FlowSummary) -> dict[str, Any]:
    """Return a flow as a document, its instants as the server writes them."""
    document: dict[str, Any] = msgspec.to_builtins(flow, builtin_types=(datetime,))
    for name in ("created_at", "finished_at"):
        if document[name] is not None:
            document[name] = document[name].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return document


def _end(connection: Connection, output: Output, id: str, timeout_s: float | None) -> int:
    flow = connection.wait_flow(id, timeout_s)
    _write(output, flow)
    return 0 if flow.state == "succeeded" else FAILED


def _write(output: Output, flow: FlowDocument) -> None:
    if not output.is_table:
        output.document(document_of(flow))
        return
    output.line(line_of(flow))
    names = {job.id: job.name or job.id for job in flow.jobs}
    for begin in range(0, len(flow.jobs), BLOCK_ROWS):
        output.table(_columns(names), flow.jobs[begin : begin + BLOCK_ROWS])
    if flow.next_cursor is not None:
        output.say(f"the first {len(flow.jobs):,} jobs; all of them with `jobqueue flow show {flow.id}`")


def _columns(names: dict[str, str]) -> tuple[Column, ...]:
    def after(job: FlowJob) -> str:
        return ", ".join(names.get(parent, parent) for parent in job.after[:20])

    return (
        Column("job", lambda job: job.name or "", cut=32, flexible=True),
        Column("type", lambda job: job.type, cut=32, flexible=True),
        Column("state", lambda job: str(job.state)),
        Column("after", after, cut=60, flexible=True),
        Column("id", lambda job: job.id, cut=64, drop=1),
    )


def _ended(flow: FlowSummary) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in flow.ended.items() if count)


def _took(flow: FlowSummary) -> str:
    """Return how long it has run."""
    return spell(((flow.finished_at or datetime.now(UTC)) - flow.created_at).total_seconds())


LIST_COLUMNS = (
    Column("id", lambda flow: flow.id, cut=64),
    Column("state", lambda flow: flow.state, cut=32),
    Column("live", lambda flow: f"{flow.live:,}", right=True),
    Column("ended", _ended, cut=60, flexible=True),
    Column("age", lambda flow: since(flow.created_at)),
    Column("took", _took),
)


def _add_list(parser: Parser) -> None:
    parser.add_argument("--state", choices=get_args(FlowState), help="flows in this state")
    parser.add_argument("--limit", type=count, default=LIMIT, metavar="N", help=f"flows at most (default: {LIMIT})")
    parser.add_argument("--all", action="store_true", help="all of them, page by page")
    add_flags(parser)


def _add_submission(parser: Parser) -> None:
    parser.add_argument("graph", metavar="JSON", type=arguments, help="the graph: JSON, @FILE, or - for standard input")
    parser.add_argument(
        "--idempotency-key", metavar="KEY", help="a repeated submission with the same key makes no second flow"
    )
    parser.add_argument(
        "--retry-for",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="try again this long while the server rejects it",
    )
    parser.add_argument(
        "--wait", nargs="?", const="", type=waiting, metavar="TIME", help="wait for the end, at most this long"
    )
    add_flags(parser)


def _add_id(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help="the flow")
    add_flags(parser)


def _add_wait(parser: Parser) -> None:
    parser.add_argument("--timeout", type=duration, metavar="TIME", help="give up after this time, exit code 1")
    _add_id(parser)


COMMANDS = (
    Command("submit", "Submit a graph of jobs: all, or none.", talking(submit), _add_submission, EPILOG),
    Command("list", "List flows, newest first.", talking(listing), _add_list),
    Command("show", "Show a flow and its jobs.", talking(show), _add_id),
    Command("wait", "Wait for the end of a flow.", talking(wait), _add_wait),
    Command("cancel", "Cancel the live jobs of a flow.", talking(cancel), _add_id),
    Command("retry", "Run a flow again from what has not succeeded.", talking(retry), _add_id),
)
