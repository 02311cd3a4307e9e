from __future__ import annotations

import asyncio

from jobqueue.http.transport.read_budget import PORTION, ReadBudget


class Client:
    """One of those who ask again as soon as they are answered, as long as they are read."""

    def __init__(self) -> None:
        self.held = False
        self.answers = 0

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False


async def turn(read_budget: ReadBudget, clients: list[Client], *, looks: int = 48) -> int:
    """Answer whoever is read, again and again, as libuv has it done in a turn; return how many answers these were."""
    answers = 0
    for _ in range(looks):
        for client in clients:
            if not client.held:
                client.answers += 1
                answers += 1
                read_budget.left -= 1
                if read_budget.left < 0:
                    read_budget.use_up(client)
    await asyncio.sleep(0)
    return answers


def crowd(size: int) -> list[Client]:
    return [Client() for _ in range(size)]


async def test_no_connection_is_paused_in_short_loop_iterations() -> None:
    read_budget, clients = ReadBudget(asyncio.get_running_loop()), crowd(100)
    for _ in range(5 * PORTION // len(clients)):
        await turn(read_budget, clients, looks=1)
        assert not any(client.held for client in clients)


async def test_however_many_ask_again_and_again_a_turn_is_a_portion_once_it_was_long() -> None:
    read_budget, clients = ReadBudget(asyncio.get_running_loop()), crowd(8 * PORTION)
    assert await turn(read_budget, clients) <= 2 * PORTION + 1 + len(clients)
    assert [await turn(read_budget, clients) for _ in range(20)] == [PORTION] * 20


async def test_busy_connections_are_answered_equally_often() -> None:
    read_budget, clients = ReadBudget(asyncio.get_running_loop()), crowd(8 * PORTION)
    await turn(read_budget, clients)
    before = [client.answers for client in clients]
    for _ in range(16):
        await turn(read_budget, clients)
    assert {client.answers - earlier for client, earlier in zip(clients, before, strict=True)} == {2}


async def test_a_new_connection_is_answered_at_once_beside_many_busy_ones() -> None:
    read_budget, clients, newcomer = ReadBudget(asyncio.get_running_loop()), crowd(8 * PORTION), Client()
    await turn(read_budget, clients)
    await turn(read_budget, [*clients, newcomer])
    assert newcomer.answers == 1


async def test_all_connections_are_resumed_when_the_load_ends() -> None:
    read_budget, clients = ReadBudget(asyncio.get_running_loop()), crowd(8 * PORTION)
    await turn(read_budget, clients)
    for _ in range(8):
        await turn(read_budget, [])
    assert not any(client.held for client in clients)
    await test_no_connection_is_paused_in_short_loop_iterations()
