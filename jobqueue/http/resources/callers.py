"""Callers as resources: what each uses of its limits, and the blocks that operators set.

Rules:

1. What a caller uses is read where it is counted anyway: nothing is counted for this. Rates, connections and waits are
   counted where they are limited.
2. Of each of these sources `READ_MAX` callers are read, the latest ones and those that hold most, in slices between
   which other tasks run.
3. A block leaves a line in the log, as does its end by an operator. A caller can't block itself.
"""

from __future__ import annotations

import asyncio
import difflib
import ipaddress
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypedDict

import msgspec
import orjson

from jobqueue.errors import InvalidField, shown
from jobqueue.http.errors import InvalidRequest, PathNotFound
from jobqueue.http.request.auth import caller_of_request
from jobqueue.http.request.blocks import BLOCKS_MAX, FOR_S_MAX, TooManyBlocks
from jobqueue.http.request.body import check_head
from jobqueue.http.request.caller import caller_of
from jobqueue.http.request.json_body import decode
from jobqueue.http.request.query import limit_of, parameters
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Count, Instant  # noqa: TC001  # read from the annotations below
from jobqueue.keys import CALLER_PREFIX, caller_of_key
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from jobqueue.core.rate import Rate
    from jobqueue.http.request.auth import Access
    from jobqueue.http.request.body import Bodies
    from jobqueue.http.request.rate_limit import Buckets, RateLimits
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.service import Service

CALLERS_DEFAULT, CALLERS_SHOWN_MAX = 50, 200

READ_MAX = 1000
"""Callers that are read of one source."""

SLICE = 100
"""Callers that are read before other tasks run: a third of a millisecond."""

NAME_LENGTH_MAX = 300

Kind = Literal["key", "certificate", "user", "address", "application"]

log = event_logger(__name__)


class Connections(Protocol):
    """The connections of callers, where they are limited."""

    def of(self, caller: str) -> int:
        """Return the number of a caller's connections that count."""
        ...

    def callers(self) -> list[str]:
        """Return the callers with a connection that counts."""
        ...


class CallersQuery(msgspec.Struct):
    """The parameters of the query.

    Attributes:
        limit: Callers at most.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=CALLERS_SHOWN_MAX)] = CALLERS_DEFAULT


class CallerBlock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long a caller is to be blocked.

    Attributes:
        for_s: In seconds, from now on; instead of the rest of an earlier block.
    """

    for_s: Annotated[float, msgspec.Meta(ge=1, le=FOR_S_MAX)]


class RateDocument(TypedDict):
    """What a caller uses of a rate.

    Attributes:
        used: How many of `limit` are taken now; each comes back after its part of `period_s`.
        limit: How many may be taken at once.
        count: How many come back in `period_s`.
        period_s: Seconds.
    """

    used: Count
    limit: Count
    count: Count
    period_s: float


class CallerDocument(TypedDict):
    """One caller, and what it uses.

    Attributes:
        name: Its name; null: the application itself, whose jobs no request has submitted.
        kind: What it is known by: an API key, the name in a client certificate, the user of a process on a Unix
            socket, or a remote address.
        requests: Its rate of requests; null: not limited.
        submissions: Its rate of submissions; null: not limited.
        jobs_live: Its live jobs.
        jobs_max: How many it may have; null: not limited.
        records: Records of its jobs, live and terminal.
        records_max: How many it may have; null: not limited.
        bytes: Bytes of these records.
        bytes_max: How many it may have; null: not limited.
        connections: Its open connections; null: not limited, and so not counted.
        connections_max: How many it may have; null: not limited.
        waits: Its open long polls and streams; null: not limited, and so not counted.
        waits_max: How many it may have; null: not limited.
        rejected: Its requests that its limits, or a block, rejected since the start (429).
        blocked_until: When its block ends; null: it is not blocked.
    """

    name: str | None
    kind: Kind
    requests: RateDocument | None
    submissions: RateDocument | None
    jobs_live: Count
    jobs_max: Count | None
    records: Count
    records_max: Count | None
    bytes: Count
    bytes_max: Count | None
    connections: Count | None
    connections_max: Count | None
    waits: Count | None
    waits_max: Count | None
    rejected: Count
    blocked_until: Instant | None


class CallersDocument(TypedDict):
    """The callers: blocked ones first, then by live jobs, rejected requests and records.

    Attributes:
        callers: The first ones, at most `limit`.
        total: How many were read.
        complete: Whether these are all.
    """

    callers: list[CallerDocument]
    total: Count
    complete: bool


class Callers:
    """The handlers of `/v1/callers`."""

    def __init__(
        self,
        service: Service,
        bodies: Bodies,
        rate_limits: RateLimits,
        connections: Connections,
        waiters: Waiters,
        access: Access,
    ) -> None:
        self._service = service
        self._bodies = bodies
        self._rate_limits = rate_limits
        self._blocks = rate_limits.blocks
        self._connections = connections
        self._waiters = waiters
        self._access = access
        self._turn = asyncio.Lock()

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/callers: those that use most."""
        given = parameters(request, CallersQuery.__struct_fields__)
        limit = limit_of(given.get("limit"), CALLERS_DEFAULT, CALLERS_SHOWN_MAX, "callers")
        async with self._turn:  # one at a time, so that each iteration of the loop has one slice of them all
            await self._service.backend.refresh(())
            names, complete = self._read()
            await self._service.backend.refresh(names)
            ranked = []
            for read, name in enumerate(names, 1):
                held = self._service.backend.holding(name)
                rejected = 0 if name is None else self._rate_limits.rejections.of(name)
                blocked = name is not None and self._blocks.has(name)
                ranked.append((not blocked, -held.live, -rejected, -held.records, read, name))
                if read % SLICE == 0:
                    await asyncio.sleep(0)
            ranked.sort()
            callers = [self._document(name) for *_, name in ranked[:limit]]
        answer: CallersDocument = {"callers": callers, "total": len(names), "complete": complete}
        return whole_answer(request, orjson.dumps(answer), JSON)

    async def block(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/callers/{caller}:block"""
        check_head(request, self._service.settings.limits)
        given = decode(await self._bodies.read(request), CallerBlock)
        caller, by = self._caller(request), caller_of_request(request)
        if caller == by:
            detail = f"{caller} is the caller of this request: it would be blocked itself"
            raise InvalidRequest(InvalidField(pointer="", detail=detail))
        try:
            self._blocks.block(caller, given.for_s)
        except TooManyBlocks:
            detail = f"{BLOCKS_MAX:,} callers are blocked, which is the maximum: unblock one first"
            raise InvalidRequest(InvalidField(pointer="", detail=detail)) from None
        log.warning("caller.blocked", caller=caller, for_s=given.for_s, by=by)
        await self._service.backend.refresh((caller,))
        return whole_answer(request, orjson.dumps(self._document(caller)), JSON)

    async def unblock(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/callers/{caller}:unblock"""
        caller = self._caller(request)
        if self._blocks.unblock(caller):
            log.info("caller.unblocked", caller=caller, by=caller_of_request(request))
        await self._service.backend.refresh((caller,))
        return whole_answer(request, orjson.dumps(self._document(caller)), JSON)

    def _read(self) -> tuple[list[str | None], bool]:
        """Return the callers of all sources, and whether these are all."""
        backend, limits = self._service.backend, self._rate_limits
        holders, complete = backend.holders(READ_MAX)
        names: dict[str | None, None] = dict.fromkeys(self._blocks.callers())
        names |= dict.fromkeys(holders)
        keys = [caller_of_key(name) for name in self._service.settings.auth.keys]
        buckets = (limits.requests, limits.submissions)
        latest: list[Sequence[str]] = [each.latest(READ_MAX) for each in buckets]
        latest += [keys, limits.rejections.latest(READ_MAX), self._connections.callers(), self._waiters.callers()]
        for source in latest:
            names |= dict.fromkeys(source[:READ_MAX])
        return list(names), complete and all(len(source) < READ_MAX for source in latest)

    def _document(self, name: str | None) -> CallerDocument:
        callers, held = self._service.callers, self._service.backend.holding(name)
        limits, rates = callers.of(name), self._rate_limits
        until = None if name is None else self._blocks.until(name)
        return {
            "name": name,
            "kind": _kind(name),
            "requests": self._rate(name, limits.requests, rates.requests),
            "submissions": self._rate(name, limits.rate, rates.submissions),
            "jobs_live": held.live,
            "jobs_max": limits.jobs_max if name is not None else None,
            "records": held.records,
            "records_max": limits.records_max if name is not None else None,
            "bytes": held.size_bytes,
            "bytes_max": limits.bytes_max if name is not None else None,
            "connections": None if name is None or not callers.connections else self._connections.of(name),
            "connections_max": limits.connections_max if name is not None else None,
            "waits": None if name is None or not callers.waits else self._waiters.of(name),
            "waits_max": limits.waits_max if name is not None else None,
            "rejected": 0 if name is None else rates.rejections.of(name),
            "blocked_until": None if until is None else timestamp(self._service.wall(until)),
        }

    def _rate(self, name: str | None, rate: Rate | None, buckets: Buckets) -> RateDocument | None:
        if name is None or rate is None:
            return None
        bucket = buckets.peek(name)
        left = rate.burst_max if bucket is None else bucket.remaining(self._service.backend.now())
        return {
            "used": max(0, rate.burst_max - left),
            "limit": rate.burst_max,
            "count": rate.count,
            "period_s": rate.period_s,
        }

    def _caller(self, request: web.Request) -> str:
        """Return the caller in the path of a request. Raises PathNotFound if there can be none of the name."""
        given = request.match_info["caller"]
        known = [name for name in self._read()[0] if name is not None]
        if given in known:
            return given
        if not self._access.required and (caller := _unseen(given)) is not None:
            return caller
        near = difflib.get_close_matches(given[:100], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "GET /v1/callers has their names"
        raise PathNotFound(f"no caller has the name {shown(given)!r}; {hint}")


def _kind(name: str | None) -> Kind:
    if name is None:
        return "application"
    if name.startswith(CALLER_PREFIX):
        return "key"
    if name.startswith("cert:"):
        return "certificate"
    return "user" if name.startswith("uid:") else "address"


def _unseen(given: str) -> str | None:
    """Return the caller that a name may stand for, although it was not seen; None: there can be none.

    An address, of IPv6 also its network; the name in a certificate, or the user of a process.
    """
    if len(given) > NAME_LENGTH_MAX:
        return None
    if given.startswith(("cert:", "uid:")):
        return None if given.endswith(":") else given
    address, _, bits = given.partition("/")
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return None
    return caller_of(address) if not bits or (version == 6 and bits == "64") else None
