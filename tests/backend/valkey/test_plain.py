"""Plain lives: jobs that are moved many at a time meet what they would meet one by one."""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.backend.valkey import library
from tests.backend.valkey.function_client import SECRET, TTL_MS, Client, claims, spec
from tests.backend.valkey.stored import stored

if TYPE_CHECKING:
    import redis

SEEDS = 24
CALLS = 60
OTHER = spec("other")
SPECS = (
    *(OTHER, OTHER, spec("other", priority=3), spec("other", lane="thread"), spec("other", delay_ms=40)),
    *(spec(limited=True), spec("rare"), spec("other", ttl_ms=500)),
)
CLAIMS = (b"", claims("ann"), claims("bob", jobs_max=12, records_max=14, bytes_max=1500), claims("ann", key="k"))


def long_way() -> str:
    """Return the library without the short way: each of its functions takes no job."""
    text, count = re.subn(
        r"\nfunction plain\.\w+\(.*\)\n", r"\g<0>  if true then return 0 end\n", library.text(test=True)
    )
    assert count == 3
    return text


class Story:
    """Calls that a seed draws, with many jobs each. Attributes: replies: All of them."""

    def __init__(self, client: redis.Redis, text: str, seed: int) -> None:
        client.flushall()
        client.function_flush()
        self.jq = Client(client, text=text)
        self.random = Random(seed)
        self.replies: list[Any] = []
        self.running: list[tuple[str, int]] = []
        self.ids: list[str] = []
        self.call("join", "p1", TTL_MS, "server", SECRET, "host:1", 2, "echo", "other")
        discipline = self.random.choice(["fifo", "lifo", "priority"])
        self.jq.set_queue(capacity=40, workers=25, discipline=discipline, aging_ms=self.random.choice([-1, 100]))
        self.bound()
        if self.random.random() < 0.2:
            self.call("events", 10**9, "", 1)

    def call(self, name: str, *args: Any) -> list[Any]:
        reply = self.jq.call(name, *args)
        self.replies.append((name, args, reply))
        return reply

    def submit(self) -> None:
        items: list[Any] = []
        options, given = self.random.choice(SPECS), self.random.choice(CLAIMS)
        for _ in range(self.random.randrange(1, 20)):
            if self.random.random() < 0.2:
                options, given = self.random.choice(SPECS), self.random.choice(CLAIMS)
            if self.ids and self.random.random() < 0.02:
                self.ids.append(self.random.choice(self.ids))
            else:
                self.ids.append(f"j{len(self.ids)}")
            args = b"x" * self.random.choice([0, 10, 64, 65, 200])
            items += (self.ids[-1], self.random.choice([0, 0, 0, 350]), options, args, given)
        self.call("submit", "default", 1, len(items) // 5, *items)

    def lease(self) -> None:
        most = self.random.choice([1, 5, 64])
        places = self.random.randrange(1, most + 1)
        reply = self.call("lease", "p1", len(self.replies), most, 2, "", places, "thread", 3, "default")
        self.running += [
            (job_id.decode(), stored(told)["a"]) for job_id, told in zip(reply[4::2], reply[5::2], strict=True)
        ]

    def end(self) -> None:
        self.random.shuffle(self.running)
        count = self.random.randrange(20)
        ended, self.running = self.running[:count], self.running[count:]
        if ended and self.random.random() < 0.2:
            job_id, attempt = ended.pop()
            self.call("nack", "p1", 1, job_id, attempt, "handler_error", "boom", "", 1, 0, 20)
        items: list[Any] = []
        for job_id, attempt in ended:
            wrong = self.random.random() < 0.05
            items += (job_id, attempt + wrong, b"r" * self.random.choice([0, 10, 64, 65, 300]))
        self.call("ack", "p1", len(ended), *items)

    def bound(self) -> None:
        self.jq.set_bounds(jobs=self.random.choice([25, 60, 1000]), size=self.random.choice([3000, 10**6]), ttl=2000)

    def cancel(self) -> None:
        if self.ids:
            self.call("cancel", "", 1, self.random.choice(self.ids))

    def tick(self) -> None:
        self.jq.pass_time(self.random.choice([1, 10, 50, 400]))
        self.call("beat", "p1", TTL_MS)
        self.call("tick", 100)

    def run(self) -> None:
        doings = [self.submit, self.lease, self.end, self.tick, self.cancel, self.bound]
        for doing in self.random.choices(doings, [6, 6, 6, 4, 1, 1], k=CALLS):
            doing()
        assert self.jq.audit() == []

    def state(self) -> dict[str, Any]:
        """Return all that the store holds."""
        client, found = self.jq.client, {}
        for key in client.keys("*"):
            kind = client.type(key)
            if kind == b"string":
                found[key.decode()] = client.get(key)
            elif kind == b"hash":
                found[key.decode()] = client.hgetall(key)
            elif kind == b"zset":
                found[key.decode()] = client.zrange(key, 0, -1, withscores=True)
            elif kind == b"set":
                found[key.decode()] = client.smembers(key)
            elif kind == b"stream":
                found[key.decode()] = [fields for _, fields in client.xrange(key)]
        return found


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_run_of_jobs_ends_in_the_same_state_as_jobs_moved_one_by_one(client: redis.Redis, seed: int) -> None:
    told = []
    for text in (library.text(test=True), long_way()):
        story = Story(client, text, seed)
        story.run()
        told.append((story.replies, story.state()))
    assert told[0][0] == told[1][0]
    assert told[0][1] == told[1][1]
