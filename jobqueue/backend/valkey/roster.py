"""The roster: the servers that share the store, and those that were lost lately, as last heard.

Rules:

1. It is read anew when the counts tell that one has joined or gone.
2. Servers with other handlers than this one's are logged, once: they should share no namespace, but in a deploy.
3. A lost server is missing until another one takes its place: each one that has joined since it was heard last takes
   the place of one, the earliest first. After `MISSING_S` it is missed no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from jobqueue.backend.store import MISSING_S, MissingServer, StoreServer
from jobqueue.backend.valkey.caller_mirror import reply_of, when_done
from jobqueue.log import event_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from jobqueue.backend.valkey.calls import Calls, Reply
    from jobqueue.backend.valkey.clock import StoreClock

HINT: Final = "unless this is a deploy: servers with other handlers have a valkey.namespace of their own"

log = event_logger(__name__)


class _Here(NamedTuple):
    """A server that shares the store; instants are the store's, in ms."""

    process: bytes
    joined: int
    info: bytes
    only_own: list[bytes]
    only_theirs: list[bytes]


class Lost(NamedTuple):
    """A server that was lost; instants are the store's, in ms."""

    joined: int
    heard: int
    info: bytes
    jobs: int


class Roster:
    """The copy of what the store knows of its servers.

    Args:
        own: Returns the name of this process.
    """

    def __init__(self, calls: Calls, clock: StoreClock, own: Callable[[], str]) -> None:
        self._calls = calls
        self._clock = clock
        self._own = own
        self._seen: tuple[int, int] | None = None
        self._reading = False
        self._differing: set[bytes] = set()
        self._here: list[_Here] = []
        self._lost: list[Lost] = []

    def see(self, processes: int, joins: int) -> None:
        """See how many there are, and how many have ever joined; read the rest anew where it must be another."""
        if self._seen != (processes, joins) and not self._reading:
            self._seen, self._reading = (processes, joins), True
            when_done(self._calls.call("servers", (self._own(),)), self._on_read)

    def _on_read(self, reading: asyncio.Future[Reply]) -> None:
        self._reading = False
        reply = reply_of(reading)
        if reply is None:
            self._seen = None
            return
        self._clock.hear(reply[0])
        self._here = [_Here(*each) for each in reply[1]]
        self._lost = [Lost(*each) for each in reply[2]]
        self._tell_differences()

    def _tell_differences(self) -> None:
        differing = {each.process: each for each in self._here if each.only_own or each.only_theirs}
        for process in differing.keys() - self._differing:
            each = differing[process]
            log.warning(
                "store.handlers_differed",
                server=_text(each.info),
                only_here=[_text(name) for name in each.only_own],
                only_there=[_text(name) for name in each.only_theirs],
                hint=HINT,
            )
        self._differing = set(differing)

    def servers(self) -> tuple[StoreServer, ...]:
        """Return the servers, those that joined first before the others."""
        name, at = self._own().encode(), self._clock.at
        return tuple(
            StoreServer(name=_text(each.info), joined_at=at(each.joined), own=each.process == name)
            for each in sorted(self._here, key=lambda each: (each.joined, each.info))
        )

    def missing(self) -> tuple[MissingServer, ...]:
        """Return the lost servers whose places are empty, the earliest first."""
        at = self._clock.at
        now = self._clock.now()
        joins = [each.joined for each in self._here] + [each.joined for each in self._lost]
        return tuple(
            MissingServer(name=_text(each.info), heard_at=at(each.heard), jobs=each.jobs)
            for each in without_successor(self._lost, joins)
            if now - at(each.heard) < MISSING_S
        )


def without_successor(lost: Sequence[Lost], joins: Sequence[int]) -> list[Lost]:
    """Return the lost servers for which no other has joined since they were heard last. Args: joins: In ms."""
    free, missing = sorted(joins), []
    for each in sorted(lost, key=lambda each: (each.heard, each.info)):
        later = next((joined for joined in free if joined > each.heard), None)
        if later is None:
            missing.append(each)
        else:
            free.remove(later)
    return missing


def _text(info: bytes) -> str:
    return info.decode("utf-8", "replace")
