"""The link of the backend's parts to the store: calls of functions, and the store's time from each reply."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.valkey.calls import Argument, Calls
    from jobqueue.backend.valkey.clock import StoreClock


class Link:
    """Calls functions of the store, and has the clock follow its time. To be made within the running loop."""

    def __init__(self, calls: Calls, clock: StoreClock) -> None:
        self.calls = calls
        self.clock = clock
        self.loop = asyncio.get_running_loop()

    def send(
        self,
        function: str,
        args: Sequence[Argument],
        then: Callable[[list[Any] | None, Exception | None], None],
        *,
        durable: bool = False,
        patience_s: float | None = None,
    ) -> asyncio.Future[list[Any]]:
        """Call a function; `then` gets its reply, or the error, on the loop, maybe within this call.

        Where `then` raises, it is called again with what it raised, so that nothing waits for the reply for ever.
        """
        reply = self.calls.call(function, args, durable=durable, patience_s=patience_s)

        def over(done: asyncio.Future[list[Any]]) -> None:
            if done.cancelled():
                return
            error = done.exception()
            if error is None:
                try:
                    told = done.result()
                    self.clock.hear(told[0])
                    then(told, None)
                except Exception as failure:
                    self.report(failure)
                    then(None, failure)
            else:
                then(None, error if isinstance(error, Exception) else RuntimeError(repr(error)))

        if reply.done():
            over(reply)
        else:
            reply.add_done_callback(over)
        return reply

    def report(self, failure: Exception) -> None:
        """Log what was raised while a reply was worked off: a fault of this program, or a reply that it can't read."""
        self.loop.call_exception_handler({"message": "a reply of the store was not worked off", "exception": failure})

    async def call(
        self, function: str, args: Sequence[Argument], *, durable: bool = False, patience_s: float | None = None
    ) -> list[Any]:
        """Call a function, and return its reply. Raises what `Calls.call` does."""
        told = await self.calls.call(function, args, durable=durable, patience_s=patience_s)
        self.clock.hear(told[0])
        return told


def fresh(error: Exception) -> Exception:
    """Return an error of its own for each operation: a traceback would grow with every raise."""
    again = type(error).__new__(type(error), *error.args)
    again.args = error.args
    again.__dict__.update(error.__dict__)
    return again
