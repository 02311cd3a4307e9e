"""Calls by asynchronous connections: one for all calls, one more for those that must be kept, one for wake-ups.

Rules:

1. A call ends once: by its reply, by an error that sending it again would not mend, or when its patience is over.
   Until then it is sent again on each new connection.
2. The store is known to be down once it has had no connection, or has refused to write, for `call_timeout_s`. Then
   calls without a patience of their own meet StoreUnavailable at once.
3. A store that lacks the library gets it; the call that met that is sent again.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from jobqueue.backend.valkey import library
from jobqueue.backend.valkey.call import Call
from jobqueue.backend.valkey.call_figures import CallFigures
from jobqueue.backend.valkey.calls import BYTES_MAX, CALLS_MAX, CallFailed, StoreFull
from jobqueue.backend.valkey.checks import check
from jobqueue.backend.valkey.connection import Confirmation, Unconfirmed
from jobqueue.backend.valkey.line import Line
from jobqueue.backend.valkey.loading import beginnings, command
from jobqueue.backend.valkey.overwritten_keys import OVERWRITTEN, OverwrittenKeys
from jobqueue.backend.valkey.packing import packed
from jobqueue.backend.valkey.pauses import PAUSE_MIN_S, Pauses
from jobqueue.backend.valkey.replies import Remedy, code_of, meaning_of, remedy_of, text_of
from jobqueue.backend.valkey.wakes import Wakes
from jobqueue.errors import ConfigError, Overloaded, StoreUnavailable
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.backend.valkey.address import Address
    from jobqueue.backend.valkey.calls import Argument, Reply, Watcher
    from jobqueue.backend.valkey.server_info import ServerInfo
    from jobqueue.config.valkey import ValkeySettings

SWEEP_S: Final = 0.1
"""How often calls are looked through for those whose patience is over."""

CONFIRM_SHARE: Final = 0.75
"""The share of the time for a reply that replicas have to confirm: the server's answer must come before that time."""

START_S: Final = 10.0
"""How long a start waits for a store that can't be reached."""

LOADS_MAX: Final = 3
LOAD: Final = "FUNCTION LOAD"

log = event_logger(__name__)


class StoreCalls:
    """The functions of a store at an address; made within the loop that it is opened in.

    Attributes:
        server_id: As in `Calls`.
        figures: Of its calls.
    """

    def __init__(self, address: Address, settings: ValkeySettings, rng: random.Random | None = None) -> None:
        self._address = address
        self._settings = settings
        self._timeout_s = settings.call_timeout_s
        self._loop = asyncio.get_running_loop()
        self._rng = rng or random.Random()  # noqa: S311 - draws pauses, no secrets
        self._prefix = f"{{{settings.namespace}}}:"
        self._functions = True
        self._beginnings = beginnings(functions=True)
        self.server_id = ""
        self.figures = CallFigures(address.shown, settings.durability)
        self._watcher: Watcher | None = None
        self._pending: dict[Call, None] = {}
        self._bytes = 0
        self._held: list[Call] = []  # refused for now, each to be sent again
        self._unloaded: dict[str, list[Call]] = {}  # by the library, or the script, that they wait for
        self._pauses = Pauses(self._rng)
        self._sweeper: asyncio.TimerHandle | None = None
        self._down: tuple[str, float] | None = ("there was no connection yet", self._loop.time())
        self._unwritable: tuple[str, float] | None = None
        self._unkept: str | None = None  # why what must be kept can't be sent, while all else can
        self._up_at = 0.0
        self._up = asyncio.Event()
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._plain = self._line(address, None)
        self._durable = self._plain
        if (confirmation := confirmation_of(settings)) is not None:
            self._durable = self._line(address, confirmation)
        self._overwritten = OverwrittenKeys(self)
        self._wakes = Wakes(address, self._rng, self._woken)

    async def open(self, start_s: float = START_S) -> None:
        """As `Calls.open`. Args: start_s: How long to try."""
        self._functions = await check(self._address, self._settings, start_s, self._rng)
        self._beginnings = beginnings(functions=self._functions)
        self._start()
        try:
            await asyncio.wait_for(self._up.wait(), start_s)
        except TimeoutError:
            raise ConfigError(f"valkey.url: no connection within {start_s:g} s{self._because()}") from None
        log.info(
            "store.opened",
            address=self.figures.address,
            server=self.figures.server,
            namespace=self._settings.namespace,
            durability=self._settings.durability,
        )

    def _start(self) -> None:
        lines = [self._plain] if self._durable is self._plain else [self._plain, self._durable]
        runs = [*(line.run() for line in lines), self._wakes.run()]
        self._tasks = [self._loop.create_task(run) for run in runs]

    def call(
        self,
        function: str,
        args: Sequence[Argument],
        *,
        durable: bool = False,
        patience_s: float | None = None,
    ) -> asyncio.Future[Reply]:
        """As `Calls.call`."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        if patience_s is None and self._down is not None and (refusal := self.refusal()) is not None:
            self.figures.fail("refused")
            future.set_exception(refusal)
            return future
        whole = packed(*self._beginnings[function], 1, self._prefix, *args)
        if self._closed:
            future.set_exception(self._unavailable("the connection to the store is closed"))
        elif len(self._pending) >= CALLS_MAX or self._bytes + len(whole) > BYTES_MAX:
            self.figures.fail("refused")
            future.set_exception(self._overloaded())
        else:
            now = self._loop.time()
            patience = 2 * self._timeout_s if patience_s is None else patience_s
            call = Call(function, whole, future, now, now + patience, patience_s is not None, durable)
            self._pending[call] = None
            self._bytes += len(whole)
            (self._durable if durable else self._plain).send(call)
            if self._sweeper is None:
                self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        return future

    def refusal(self) -> StoreUnavailable | None:
        """As `Calls.refusal`."""
        trouble = self._down or self._unwritable
        if trouble is None or self._loop.time() - trouble[1] < self._timeout_s:
            return None
        return self._unavailable(f"the store doesn't answer: {trouble[0]}")

    @property
    def up(self) -> bool:
        """Whether there is a connection, and the store writes."""
        return self._down is None and self._unwritable is None

    @property
    def trouble(self) -> str | None:
        """Why not."""
        trouble = self._down or self._unwritable
        return None if trouble is None else trouble[0]

    def state(self) -> tuple[str | None, float]:
        """As `Calls.state`."""
        return self._down or self._unwritable or (None, self._up_at)

    def listen(self, watcher: Watcher, *channels: str) -> None:
        """As `Calls.listen`."""
        self._watcher = watcher
        self._wakes.listen(channels)

    async def close(self) -> None:
        """As `Calls.close`."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sweeper is not None:
            self._sweeper.cancel()
        for call in [*self._pending]:
            self._settle(call, self._unavailable("the connection to the store is closed"))

    # What the lines tell

    def heard(self, call: Call, reply: Any) -> None:
        """As `LineOwner.heard`."""
        if isinstance(reply, RedisError):
            self._mend(call, reply)
        elif isinstance(reply, Unconfirmed):
            self.figures.fail("unconfirmed")
            log.sampled("store.unconfirmed", every_s=10.0, reason=str(reply))
            self._settle(call, self._unavailable(f"the store has not confirmed that it is kept: {reply}"))
        else:
            if self._unwritable is not None and not _only_reads(call):
                log.info("store.writes_again", reason=self._unwritable[0])
                self._unwritable, self._up_at = None, self._loop.time()
                self._pauses.reset()
            self.figures.add(call.function, self._loop.time() - call.made_at)
            self._settle(call, reply)

    def came_up(self, line: Line, info: ServerInfo) -> None:
        """As `LineOwner.came_up`."""
        if line is not self._plain:
            if self._unkept is not None:
                log.info("store.keeps_again", reason=self._unkept)
            self._unkept = None
            return
        if self.server_id:
            self.figures.reconnects += 1
            log.info("store.connected", server=info.product, restarted=self.server_id != info.server_id)
        self._down, self.server_id, self.figures.server = None, info.server_id, info.product
        self._up_at = self._loop.time()
        self._up.set()
        if self._watcher is not None:
            self._watcher.connected(info.server_id)

    def went_down(self, line: Line, reason: str, kind: str) -> None:
        """As `LineOwner.went_down`."""
        self.figures.fail(kind)
        line.forget()
        if line is not self._plain:
            if self._unkept is None:
                log.warning("store.keeps_nothing", reason=reason)
            self._unkept = reason
            return
        since = self._loop.time()
        if self._down is None:
            log.warning("store.lost", reason=reason)
            if self._watcher is not None:
                self._watcher.disconnected(reason)
        else:
            since = self._down[1]
        self._down = (reason, since)

    def _woken(self, channel: str, message: bytes) -> None:
        if self._watcher is not None:
            self._watcher.woken(channel, message)

    # Errors

    def _mend(self, call: Call, error: RedisError) -> None:
        """Do what an error reply asks for."""
        remedy = remedy_of(error)
        if remedy is not Remedy.ELSEWHERE:  # that is counted as the end of a connection
            self.figures.fail("function" if remedy is Remedy.NONE else code_of(error).lower())
        if call.future.done():
            self._settle(call, None)
        elif remedy is Remedy.LATER:
            self._hold(call, meaning_of(error))
        elif remedy is Remedy.ELSEWHERE:
            line = self._line_of(call)
            line.abort(meaning_of(error), code_of(error).lower())
            self._held.append(call)
            self._loop.call_later(PAUSE_MIN_S, self._send_held)
        elif remedy is Remedy.LOAD and call.loads < LOADS_MAX:
            self._load(call)
        elif remedy is Remedy.FULL:
            self._settle(call, StoreFull(text_of(error)))
        elif remedy is Remedy.OVERWRITTEN:
            self._overwritten.look(call.function)
            self._settle(call, self._unavailable(OVERWRITTEN))
        else:  # a fault of this program, or of the library in the store: what asked may pass over it in silence
            log.sampled("store.call_failed", every_s=10.0, function=call.function, error=text_of(error))
            self._settle(call, CallFailed(call.function, text_of(error)))

    def _hold(self, call: Call, reason: str) -> None:
        """Send a call again in a while; without a patience of its own it fails once the trouble has lasted."""
        now = self._loop.time()
        if self._unwritable is None:
            log.error("store.refuses", reason=reason)
            self._unwritable = (reason, now)
        elif not call.is_patient and now - self._unwritable[1] >= self._timeout_s:
            self._settle(call, self._unavailable(f"the store refuses to write: {reason}"))
            return
        if not self._held:
            self._loop.call_later(self._pauses.next_s(), self._send_held)
        self._held.append(call)

    def _send_held(self) -> None:
        held, self._held = self._held, []
        for call in held:
            if not call.future.done():
                self._line_of(call).send(call)

    def _load(self, call: Call) -> None:
        """Load the library, or the script that is missing, and then send the call again."""
        call.loads += 1
        missing = library.library_name() if self._functions else call.function
        waiting = self._unloaded.setdefault(missing, [])
        waiting.append(call)
        if len(waiting) > 1:
            return
        log.warning("store.library_loaded", library=missing)
        now = self._loop.time()
        loading: asyncio.Future[Any] = self._loop.create_future()
        loading.add_done_callback(lambda _: self._loaded(missing, loading))
        packed_load = command(call.function, functions=self._functions)
        load = Call(LOAD, packed_load, loading, now, now + 2 * self._timeout_s, True, False)
        self._pending[load] = None
        self._bytes += len(packed_load)
        self._plain.send(load)

    def _loaded(self, missing: str, loading: asyncio.Future[Any]) -> None:
        error = None if loading.cancelled() else loading.exception()
        for call in self._unloaded.pop(missing):
            if error is None or "already exists" in str(error):
                self._line_of(call).send(call)
            else:
                self._settle(call, error)

    # Ends

    def _settle(self, call: Call, outcome: Any) -> None:
        """End a call with its reply or an exception, whether its caller still waits or not."""
        if call in self._pending:
            del self._pending[call]
            self._bytes -= len(call.packed)
        if not call.future.done():
            if isinstance(outcome, BaseException):
                call.future.set_exception(outcome)
            else:
                call.future.set_result(outcome)

    def _sweep(self) -> None:
        """End the calls whose patience is over, and forget the abandoned ones."""
        now = self._loop.time()
        for call in [call for call in self._pending if call.give_up_at <= now or call.future.done()]:
            if not call.future.done():
                self.figures.fail("unanswered")
            waited = now - call.made_at
            why = f"the store has not answered within {waited:.1f} s{self._because(call)}"
            self._settle(call, self._unavailable(why))
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep) if self._pending else None

    def _because(self, call: Call | None = None) -> str:
        reason = self.trouble or (self._unkept if call is not None and call.durable else None)
        return "" if reason is None else f": {reason}"

    def _unavailable(self, detail: str) -> StoreUnavailable:
        return StoreUnavailable(detail, retry_after_s=self._rng.uniform(1.0, 5.0))

    def _overloaded(self) -> Overloaded:
        detail = f"{len(self._pending):,} calls wait for the store"
        return Overloaded(detail, retry_after_s=self._rng.uniform(1.0, 5.0))

    def _line(self, address: Address, confirmation: Confirmation | None) -> Line:
        return Line(address, self, timeout_s=self._timeout_s, rng=self._rng, confirmation=confirmation)

    def _line_of(self, call: Call) -> Line:
        return self._durable if call.durable else self._plain


def confirmation_of(settings: ValkeySettings) -> Confirmation | None:
    """Return what confirms that a job is kept as `valkey.durability` says; None: it needs no more than its reply."""
    wait_ms = int(settings.call_timeout_s * CONFIRM_SHARE * 1000)
    if settings.durability == "replica":
        return Confirmation(packed("WAIT", 1, wait_ms))
    if settings.durability == "aof":
        return Confirmation(packed("WAITAOF", 1, 0, wait_ms))
    return None


def _only_reads(call: Call) -> bool:
    function = library.FUNCTIONS.get(call.function)
    return function is not None and function.no_writes
