"""The queue of bench.peers.kept_queue over Redis, which appends to its file; each group is one pipeline.

    python -m bench.peers.kept_by_redis REDIS_SOCKET

How durable that is, is the server's business: `appendfsync always` answers after its fsync, `everysec` before.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from bench.peers.kept_queue import serve_over

if TYPE_CHECKING:
    from bench.peers.kept_queue import Change


class InRedis:
    """A hash a job."""

    def __init__(self, path: str) -> None:
        self._redis: Any = Redis.from_url(f"unix://{path}")

    async def open(self) -> None:
        await self._redis.ping()

    async def keep(self, changes: list[Change]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for change in changes:
            if change.state == "queued":
                fields = {"state": change.state, "type": change.type, "args": change.args}
            elif change.result:
                fields = {"state": change.state, "result": change.result}
            else:
                fields = {"state": change.state}
            pipeline.hset(f"job:{change.id}", mapping=fields)
        await pipeline.execute()

    async def close(self) -> None:
        await self._redis.aclose()


if __name__ == "__main__":
    serve_over(InRedis(sys.argv[1]))
