from __future__ import annotations

import asyncio

from jobqueue.http.transport.read_budget import PORTION, ReadBudget


class Client:
    """A client that sends its next request as soon as it is answered, while it is read."""

    def __init__(self) -> None:
        self.held = False
        self.answers = 0

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False


async def iteration(read_budget: ReadBudget, clients: list[Client], *, looks: int = 48, work: int = 1) -> int:
    """Answer each client that is read, `looks` times, as libuv does in an iteration; return the number of answers."""
    answers = 0
    for _ in range(looks):
        for client in clients:
            if not client.held:
                client.answers += 1
                answers += 1
                read_budget.left -= work
                if read_budget.left < 0:
                    read_budget.use_up(client, work)
    await asyncio.sleep(0)
    return answers


def clients_of(size: int) -> list[Client]:
    return [Client() for _ in range(size)]


async def test_no_connection_is_paused_in_short_loop_iterations() -> None:
    read_budget, clients = ReadBudget(asyncio.get_running_loop()), clients_of(100)
    for _ in range(5 * PORTION // len(clients)):
        await iteration(read_budget, clients, looks=1)
        assert not any(client.held for client in clients)


async def test_an_iteration_answers_one_portion_after_a_long_one() -> None:
    read_budget, clients = ReadBudget(asyncio.get_running_loop()), clients_of(8 * PORTION)
    assert await iteration(read_budget, clients) <= 2 * PORTION + 1 + len(clients)
    assert [await iteration(read_budget, clients) for _ in range(20)] == [PORTION] * 20


async def test_busy_connections_are_answered_equally_often() -> None:
    read_budget, clients = ReadBudget(asyncio.get_running_loop()), clients_of(8 * PORTION)
    await iteration(read_budget, clients)
    before = [client.answers for client in clients]
    for _ in range(16):
        await iteration(read_budget, clients)
    assert {client.answers - earlier for client, earlier in zip(clients, before, strict=True)} == {2}


async def test_a_new_connection_is_answered_immediately_beside_many_busy_ones() -> None:
    read_budget, clients, newcomer = ReadBudget(asyncio.get_running_loop()), clients_of(8 * PORTION), Client()
    await iteration(read_budget, clients)
    await iteration(read_budget, [*clients, newcomer])
    assert newcomer.answers == 1


async def test_all_connections_are_resumed_when_the_load_ends() -> None:
    read_budget, clients = ReadBudget(asyncio.get_running_loop()), clients_of(8 * PORTION)
    await iteration(read_budget, clients)
    for _ in range(8):
        await iteration(read_budget, [])
    assert not any(client.held for client in clients)
    await test_no_connection_is_paused_in_short_loop_iterations()


async def test_requests_of_more_work_are_fewer_in_an_iteration() -> None:
    read_budget, clients = ReadBudget(asyncio.get_running_loop()), clients_of(2 * PORTION)
    await iteration(read_budget, clients, work=16)
    assert [await iteration(read_budget, clients, work=16) for _ in range(20)] == [PORTION // 16] * 20
