"""Batches gather what one turn of the loop asks for, and more while the store is busy."""

from __future__ import annotations

import asyncio

from jobqueue.backend.valkey.batches import Batches


class Sent:
    """Notes each batch, and answers it when told to. Attributes: raises: An error, in place of the next batch."""

    def __init__(self) -> None:
        self.raises: Exception | None = None
        self.failed: list[tuple[int, Exception]] = []
        self.batches: list[tuple[object, list[int]]] = []
        self.futures: list[asyncio.Future[None]] = []

    def __call__(self, key: object, items: list[int]) -> asyncio.Future[None]:
        if (error := self.raises) is not None:
            self.raises = None
            raise error
        self.batches.append((key, items))
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    def fail(self, item: int, error: Exception) -> None:
        self.failed.append((item, error))


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_items_of_one_turn_are_one_batch_for_each_key() -> None:
    sent = Sent()
    batches = Batches(asyncio.get_running_loop(), sent, sent.fail)
    for number in range(3):
        batches.add("a", number, 1)
    batches.add("b", 9, 1)
    assert sent.batches == []
    await turn()
    assert sent.batches == [("a", [0, 1, 2]), ("b", [9])]


async def test_a_full_batch_is_sent_at_once() -> None:
    sent = Sent()
    batches = Batches(asyncio.get_running_loop(), sent, sent.fail, items_max=2)
    for number in range(5):
        batches.add("a", number, 1)
    assert sent.batches == [("a", [0, 1]), ("a", [2, 3])]


async def test_bytes_bound_a_batch_and_a_larger_item_is_one_by_itself() -> None:
    sent = Sent()
    batches = Batches(asyncio.get_running_loop(), sent, sent.fail, bytes_max=10)
    batches.add("a", 1, 6)
    batches.add("a", 2, 6)
    batches.add("a", 3, 50)
    assert sent.batches == [("a", [1]), ("a", [2]), ("a", [3])]


async def test_items_gather_while_enough_batches_are_on_the_way() -> None:
    sent = Sent()
    batches = Batches(asyncio.get_running_loop(), sent, sent.fail, on_way_max=1)
    batches.add("a", 1, 1)
    await turn()
    for number in (2, 3):
        batches.add("a", number, 1)
        await turn()
    assert sent.batches == [("a", [1])]
    sent.futures[0].set_result(None)
    await turn()
    assert sent.batches == [("a", [1]), ("a", [2, 3])]


async def test_a_failed_batch_makes_room_too() -> None:
    sent = Sent()
    batches = Batches(asyncio.get_running_loop(), sent, sent.fail, on_way_max=1)
    batches.add("a", 1, 1)
    await turn()
    batches.add("a", 2, 1)
    await turn()
    sent.futures[0].set_exception(ValueError())
    await turn()
    assert isinstance(sent.futures[0].exception(), ValueError)
    assert sent.batches[1:] == [("a", [2])]


async def test_keys_that_have_nothing_on_the_way_are_forgotten() -> None:
    sent = Sent()
    batches = Batches(asyncio.get_running_loop(), sent, sent.fail)
    for number in range(100):
        batches.add(number, number, 1)
    await turn()
    for future in sent.futures:
        future.set_result(None)
    await turn()
    assert batches._by_key == {}


async def test_an_item_that_is_added_while_a_batch_is_sent_is_in_a_later_one() -> None:
    received: list[list[int]] = []

    def send(key: object, items: list[int]) -> None:
        received.append(items)
        if items == [1]:
            batches.add("a", 2, 1)

    batches: Batches[int] = Batches(asyncio.get_running_loop(), send, lambda item, error: None)
    batches.add("a", 1, 1)
    await turn()
    await turn()
    assert received == [[1], [2]]


async def test_items_of_a_batch_that_cannot_be_made_fail_and_the_next_batch_is_sent() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    sent, error = Sent(), ValueError("no text")
    batches = Batches(asyncio.get_running_loop(), sent, sent.fail, on_way_max=1)
    sent.raises = error
    batches.add("a", 1, 1)
    batches.add("a", 2, 1)
    batches.add("b", 3, 1)
    await turn()
    assert sent.failed == [(1, error), (2, error)]
    assert reported == [error]
    batches.add("a", 4, 1)
    await turn()
    assert sent.batches == [("b", [3]), ("a", [4])]
