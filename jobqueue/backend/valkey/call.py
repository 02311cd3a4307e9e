"""A call on its way to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


class Call:
    """One call, from the moment that it is made until its future is done.

    Attributes:
        packed: The command, as it goes over the wire, each time that it is sent.
        future: Of its reply.
        made_at: When it was made, on the loop's clock.
        give_up_at: When its caller is told that the store doesn't answer.
        is_patient: Whether its caller has said how long to try.
        sent_at: When it was last sent.
        durable: Whether its reply waits until what it did is kept.
        loads: How often the library was loaded for its sake.
    """

    __slots__ = ("durable", "function", "future", "give_up_at", "is_patient", "loads", "made_at", "packed", "sent_at")

    def __init__(
        self,
        function: str,
        packed: bytes,
        future: asyncio.Future[Any],
        made_at: float,
        give_up_at: float,
        is_patient: bool,
        durable: bool,
    ) -> None:
        self.function = function
        self.packed = packed
        self.future = future
        self.made_at = made_at
        self.give_up_at = give_up_at
        self.is_patient = is_patient
        self.durable = durable
        self.sent_at = 0.0
        self.loads = 0
