"""Clients that do everything to a server until it is killed, and note each answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import aiohttp

from tests.chaos.ledger import TERMINAL, Accepted, Ledger

UNANSWERED = (aiohttp.ClientError, ConnectionError, TimeoutError)
TYPES = ("quick", "quick", "quick", "slow", "flaky", "threaded")
UNIQUE_VALUES = 5
GROUPS = 7
LATEST = 10
UNANSWERED_PAUSE_S = 0.02


class Load:
    """A number of clients, each of whose requests goes to any of the servers.

    Args:
        rng: Draws what they do.
        lasting: An unanswered request doesn't end a client; `stop` does.
    """

    _numbers = itertools.count()

    def __init__(
        self,
        servers: Sequence[aiohttp.ClientSession],
        ledger: Ledger,
        rng: Random,
        *,
        clients: int,
        lasting: bool = False,
    ) -> None:
        self._servers = servers
        self._goes_on = lasting
        self._ledger = ledger
        self._rng = rng
        self._clients = clients
        self._ids: list[str] = []
        self._stopped = False

    def stop(self) -> None:
        """Have each client end with its next answer."""
        self._goes_on = False
        self._stopped = True

    async def run(self) -> None:
        """Ask until the server doesn't answer any more, or `stop` was called."""
        await asyncio.gather(*(self._client() for _ in range(self._clients)))

    async def _client(self) -> None:
        actions = (self._submit, self._repeat, self._unique, self._batch, self._cancel, self._delete, self._look)
        weights = (40, 12, 8, 6, 5, 5, 24)
        while not self._stopped:
            (action,) = self._rng.choices(actions, weights)
            try:
                await action()
            except UNANSWERED:
                self._ledger.unanswered += 1
                if not self._goes_on:
                    return
                await asyncio.sleep(UNANSWERED_PAUSE_S)

    async def _submit(self) -> None:
        more: dict[str, Any] = {"delay_s": self._rng.uniform(0.01, 0.3)} if self._rng.random() < 0.2 else {}
        submission = self._new()
        await self._post(submission, {**self._body(submission), "priority": self._rng.randrange(10), **more})

    async def _repeat(self) -> None:
        """Submit with an Idempotency-Key, and mostly again."""
        submission = self._new()
        body, key = self._body(submission), f"key-{submission.token}"
        self._ledger.bodies[key] = submission, body
        for _ in range(self._rng.randrange(1, 4)):
            await self._post(submission, body, key)

    async def _unique(self) -> None:
        mode = self._rng.choice(("return", "reject", "replace"))
        value = f"v{self._rng.randrange(UNIQUE_VALUES)}"
        submission = self._new("slow", value)
        await self._post(submission, {**self._body(submission), "unique": {"value": value, "mode": mode}})

    async def _batch(self) -> None:
        submissions = [self._new() for _ in range(self._rng.randrange(1, 8))]
        answer = await self._ask("POST", "/v1/jobs:batch", {"jobs": [self._body(each) for each in submissions]})
        if answer["status"] != 207:
            return
        for submission, verdict in zip(submissions, answer["jobs"], strict=True):
            if "id" in verdict:
                self._accept(submission, verdict["id"])

    async def _cancel(self) -> None:
        if self._ids:
            id_ = self._rng.choice(self._ids)
            answer = await self._ask("POST", f"/v1/jobs/{id_}:cancel")
            # A success that was under way counts, and is told in the same answer.
            if answer["status"] == 200 and answer["state"] == "cancelled":
                self._ledger.cancelled.add(id_)

    async def _delete(self) -> None:
        ended = [id_ for id_ in self._ids if self._ledger.seen.get(id_, ("", 0.0))[0] in TERMINAL]
        if not ended:
            return
        id_ = self._rng.choice(ended)
        self._ids.remove(id_)
        self._ledger.maybe_deleted.add(id_)
        if (await self._ask("DELETE", f"/v1/jobs/{id_}"))["status"] == 204:
            self._ledger.deleted.add(id_)

    async def _look(self) -> None:
        if self._ids:
            # Half the looks are at jobs that have just come: these are the ones that change.
            id_ = self._rng.choice(self._ids[-LATEST:] if self._rng.random() < 0.5 else self._ids)
            asked_at = time.monotonic()
            answer = await self._ask("GET", f"/v1/jobs/{id_}")
            if "state" in answer and id_ not in self._ledger.maybe_deleted:
                self._ledger.saw(id_, answer["state"], asked_at, time.monotonic())

    async def _post(self, submission: Accepted, body: dict[str, Any], key: str | None = None) -> None:
        answer = await self._ask("POST", "/v1/jobs", body, {} if key is None else {"Idempotency-Key": f'"{key}"'})
        if answer["status"] not in (200, 202):
            return
        if answer["repeated"] and key is None:
            self._ledger.was_there(answer["id"], submission)
            return
        self._accept(submission, answer["id"])
        if key is not None:
            self._ledger.was_kept(key, answer["id"])

    def _accept(self, submission: Accepted, id_: str) -> None:
        if id_ not in self._ids:
            self._ids.append(id_)
        self._ledger.was_accepted(id_, submission)

    async def _ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the answer's document, with its `status`, and whether it said that the job existed (`repeated`)."""
        async with self._rng.choice(self._servers).request(method, path, json=body, headers=headers) as response:
            content = await response.read()
        self._ledger.answers[response.status] += 1
        document: dict[str, Any] = json.loads(content) if content else {}
        return {**document, "status": response.status, "repeated": "Job-Deduplicated" in response.headers}

    def _new(self, type_: str | None = None, unique: str | None = None) -> Accepted:
        return Accepted(f"t{next(self._numbers)}", type_ or self._rng.choice(TYPES), unique)

    @staticmethod
    def _body(submission: Accepted) -> dict[str, Any]:
        group = f"g{int(submission.token.removeprefix('t')) % GROUPS}"
        return {"type": submission.type, "args": {"token": submission.token}, "group": group}
