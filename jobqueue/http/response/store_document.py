"""The document of a store that servers share, with these servers: its members, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from jobqueue.http.response.durations import to_microseconds
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Count, Duration, Instant  # noqa: TC001  # read from annotations below

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.store import StoreFigures


class StoreServerDocument(TypedDict):
    """A server that shares the store.

    Attributes:
        name: Its host and pid.
        joined_at: When it has joined.
        own: It is the one that answers.
    """

    name: str
    joined_at: Instant
    own: bool


class MissingServerDocument(TypedDict):
    """A server of the store that was lost.

    Attributes:
        name: Its host and pid.
        heard_at: When it was heard last.
        jobs: How many it ran.
    """

    name: str
    heard_at: Instant
    jobs: Count


class StoreDocument(TypedDict):
    """The store that holds the jobs, of this server and of others.

    Attributes:
        product: Its server's name and version; empty: it has not answered yet.
        address: Where it is.
        namespace: That of its keys.
        up: Whether it answers. While it doesn't, no job is accepted or looked up.
        since: Since when that is so.
        reason: Why it doesn't answer; null: it does.
        servers: Live servers that share it, this one included.
        members: These servers, at most a hundred.
        missing: Servers that were lost within the last 15 minutes, while none has taken their place; the latest 20.
        durability: What an accepted job survives: `valkey.durability`.
        calls: Calls that were answered since the start.
        call_s_p50: The median time of the latest ones; null: there was none.
        errors: Calls and connections that failed since the start, by kind.
        reconnects: Connections after the first one.
        copy_age_s: How old the numbers are that this server knows of it; null: it knows none.
    """

    product: str
    address: str
    namespace: str
    up: bool
    since: Instant
    reason: str | None
    servers: Count
    members: list[StoreServerDocument]
    missing: list[MissingServerDocument]
    durability: str
    calls: Count
    call_s_p50: Duration | None
    errors: dict[str, Count]
    reconnects: Count
    copy_age_s: Duration | None


def store_document(figures: StoreFigures, wall: Callable[[float], float]) -> StoreDocument:
    """Return the document of a store's figures. Args: wall: Turns an instant of them into Unix seconds."""
    return {
        "product": figures.product,
        "address": figures.address,
        "namespace": figures.namespace,
        "up": figures.up,
        "since": timestamp(wall(figures.since)),
        "reason": figures.reason,
        "servers": figures.servers,
        "members": [
            {"name": each.name, "joined_at": timestamp(wall(each.joined_at)), "own": each.own}
            for each in figures.members
        ],
        "missing": [
            {"name": each.name, "heard_at": timestamp(wall(each.heard_at)), "jobs": each.jobs}
            for each in figures.missing
        ],
        "durability": figures.durability,
        "calls": sum(figures.calls.values()),
        "call_s_p50": to_microseconds(figures.call_s_p50),
        "errors": {kind: count for kind, count in figures.errors.items() if count},
        "reconnects": figures.reconnects_total,
        "copy_age_s": to_microseconds(figures.copy_age_s),
    }
