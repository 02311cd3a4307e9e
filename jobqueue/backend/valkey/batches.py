"""Batches: what is asked for in one turn of the loop, sent together, since each costs less in company.

Rules:

1. A batch is sent at the end of the turn that began it, or at once when it is full: when nothing is on the way, no item
   waits for company.
2. While `on_way_max` batches of a key are on the way, further items gather: the busier the store, the fuller they are.
   A full one is sent all the same, since waiting would not make it fuller.
3. An item larger than a batch is one by itself.
4. A batch that can't be sent fails: each of its items is told, and the next ones are sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

Item = TypeVar("Item")

ITEMS_MAX = 64
BYTES_MAX = 256 * 1024
ON_WAY_MAX = 1


class _Gathering(Generic[Item]):
    """The items of one key."""

    __slots__ = ("items", "on_way", "size")

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.size = 0
        self.on_way = 0


class Batches(Generic[Item]):
    """Gathers items by key.

    Args:
        send: Sends the items of a key. Returns the future whose end makes room for the next batch; None: it is there at
            once. It may add items.
        fail: Is told each item of a batch that `send` has raised for. Must not raise.
        items_max: Number of items in a batch.
        bytes_max: Their size.
        on_way_max: Number of batches of a key that are on the way before further ones wait until they are full.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Any, list[Item]], asyncio.Future[Any] | None],
        fail: Callable[[Item, Exception], None],
        *,
        items_max: int = ITEMS_MAX,
        bytes_max: int = BYTES_MAX,
        on_way_max: int = ON_WAY_MAX,
    ) -> None:
        self._loop = loop
        self._send = send
        self._fail = fail
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._on_way_max = on_way_max
        self._by_key: dict[Hashable, _Gathering[Item]] = {}
        self._due = False

    def add(self, key: Hashable, item: Item, size: int) -> None:
        """Send an item with the others of its key. Args: size: Its size in bytes."""
        gathering = self._by_key.get(key)
        if gathering is None:
            gathering = self._by_key[key] = _Gathering()
        if gathering.items and gathering.size + size > self._bytes_max:
            self._dispatch(key, gathering)
        gathering.items.append(item)
        gathering.size += size
        if len(gathering.items) >= self._items_max or gathering.size >= self._bytes_max:
            self._dispatch(key, gathering)
        elif not self._due:
            self._due = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._due = False
        for key, gathering in [*self._by_key.items()]:
            self._go_on(key, gathering)

    def _go_on(self, key: Hashable, gathering: _Gathering[Item]) -> None:
        """Send what has gathered, if there is room; forget a key that has nothing."""
        if gathering.items:
            if gathering.on_way < self._on_way_max:
                self._dispatch(key, gathering)
        elif gathering.on_way == 0 and self._by_key.get(key) is gathering:
            del self._by_key[key]

    def _dispatch(self, key: Hashable, gathering: _Gathering[Item]) -> None:
        items, gathering.items, gathering.size = gathering.items, [], 0
        gathering.on_way += 1
        try:
            sent = self._send(key, items)
        except Exception as error:
            self._loop.call_exception_handler({"message": "a batch of calls could not be made", "exception": error})
            sent = None
            for item in items:
                self._fail(item, error)
        if sent is None or sent.done():
            gathering.on_way -= 1
        else:
            sent.add_done_callback(lambda _: self._arrived(key, gathering))

    def _arrived(self, key: Hashable, gathering: _Gathering[Item]) -> None:
        gathering.on_way -= 1
        self._go_on(key, gathering)
