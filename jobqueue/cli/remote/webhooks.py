"""`jobqueue webhooks`: the receivers of a server's webhooks; and `secret`, which draws a secret for one."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import since
from jobqueue.webhooks.signature import PREFIX

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.remote.output import Output

KEY_BYTES = 32
LISTING = "List the receivers of webhooks: how many events each got, and how its latest delivery went."
SECRET = "Draw a secret for the signatures of webhooks, and print it; nothing keeps it."  # a help text


class LastAttempt(msgspec.Struct, frozen=True):
    """The latest attempt, as far as it is shown."""

    at: datetime
    error: str | None = None


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver, as far as it is shown; a key that doesn't see all jobs is told no counts."""

    name: str
    host: str
    state: str
    pending: int | None = None
    delivered_total: int | None = None
    failed_total: int | None = None
    dropped_total: int | None = None
    last_attempt: LastAttempt | None = None


class Webhooks(msgspec.Struct, frozen=True):
    """The answer of a server."""

    webhooks: tuple[dict[str, Any], ...]


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _latest(webhook: Webhook) -> str:
    last = webhook.last_attempt
    return "" if last is None else f"{'delivered' if last.error is None else last.error}, {since(last.at)}"


COLUMNS = (
    Column("webhook", lambda webhook: webhook.name, cut=60, flexible=True),
    Column("host", lambda webhook: webhook.host, cut=60, flexible=True, drop=2),
    Column("state", lambda webhook: webhook.state),
    Column("pending", lambda webhook: _number(webhook.pending), right=True),
    Column("delivered", lambda webhook: _number(webhook.delivered_total), right=True),
    Column("failed", lambda webhook: _number(webhook.failed_total), right=True),
    Column("dropped", lambda webhook: _number(webhook.dropped_total), right=True),
    Column("latest attempt", _latest, cut=80, flexible=True, drop=3),
)


def listing(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the receivers; exit code 1 if there is none."""
    found: Webhooks = seen({"webhooks": connection.webhooks()}, Webhooks)
    if not output.listing(found.webhooks, COLUMNS, Webhook, id="name"):
        output.say("the settings have no webhooks")
        return FAILED
    return 0


def completed(words: list[str]) -> list[str]:
    """Write `webhooks` as `webhooks list`."""
    first = words[0] if words else ""
    return ["list", *words] if not first or (first.startswith("-") and first not in ("-h", "--help")) else words


def _secret(options: argparse.Namespace) -> int:
    """Print a new secret."""
    print(PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode())
    return 0


COMMANDS = (
    Command("list", LISTING, talking(listing), add_flags),
    Command("secret", SECRET, _secret),
)
