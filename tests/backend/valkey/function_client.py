"""A client of the store's functions, with the arguments that most tests leave as they are."""

from __future__ import annotations

from typing import Any

import msgspec

from jobqueue.backend.valkey.submissions import outcomes
from tests.backend.valkey.stored import stored
from tests.stores import Functions

encode = msgspec.msgpack.encode


def codes_of(reply: list[Any]) -> list[int]:
    """Return the codes in the reply of `submit`."""
    return [code for code, *_ in outcomes(reply)]


SECRET = b"s" * 32
TTL_MS = 15_000


def spec(
    kind: str = "echo",
    *,
    lane: str = "",
    limited: bool = False,
    priority: int = 0,
    delay_ms: int = 0,
    run_at: int | None = None,
    start_by_ms: int | None = None,
    ttl_ms: int | None = None,
    attempts: int = 3,
    group: str | None = None,
) -> bytes:
    return encode([kind, lane, int(limited), priority, delay_ms, run_at, start_by_ms, ttl_ms, attempts, group])


def claims(
    caller: str | None = None,
    *,
    owner: str | None = None,
    key: str | None = None,
    fingerprint: str | None = None,
    value: str | None = None,
    mode: str | None = None,
    jobs_max: int | None = None,
    records_max: int | None = None,
    bytes_max: int | None = None,
) -> bytes:
    return encode([caller, owner, key, fingerprint, value, mode, jobs_max, records_max, bytes_max])


class Client(Functions):
    """The functions, with the arguments that most tests leave as they are."""

    def set_queue(self, name: str = "default", **changes: Any) -> list[Any]:
        policy = {"capacity": 100, "workers": 10, "weight": 1, "discipline": "fifo", "aging_ms": -1, "budget": 50}
        policy |= changes
        digest, from_file = policy.pop("digest", "d1"), policy.pop("from_file", 0)
        return self.call("set_queue", name, digest, from_file, b"blob", *policy.values())

    def set_bounds(self, jobs: int = 1000, failed: int = 100, size: int = 10**6, ttl: int = 600_000) -> None:
        self.call("set_bounds", jobs, failed, size, ttl, ttl, 1000)

    def submit(
        self, *ids: str, queue: str = "default", options: bytes | None = None, args: bytes = b"{}", given: bytes = b""
    ) -> list[int]:
        """Submit some jobs of the same options; return the code of each."""
        items: list[str | bytes | int] = []
        for job_id in ids:
            items += (job_id, 0, options or spec(), args, given)
        return codes_of(self.call("submit", queue, 1, len(ids), *items))

    def submit_one(self, job_id: str, options: bytes, given: bytes = b"", args: bytes = b"{}") -> list[Any]:
        """Submit a job; return its part of the reply: code, id, state, version, at, other."""
        return list(*outcomes(self.call("submit", "default", 1, 1, job_id, 0, options, args, given)))

    def lease(self, process: str = "p1", most: int = 64, number: int = 0, *queues: str) -> list[tuple[str, int]]:
        """Lease; return ids and attempts."""
        reply = self.call("lease", process, number, most, 1, "", 64, *(queues or ("default",)))
        assert reply[1] == 1, "the process is alive"
        return [(job_id.decode(), stored(told)["a"]) for job_id, told in zip(reply[4::2], reply[5::2], strict=True)]

    def ack(self, job_id: str, attempt: int = 1, result: bytes = b"1", process: str = "p1") -> tuple[int, str]:
        reply = self.call("ack", process, 1, job_id, attempt, result)
        return reply[1], reply[2].decode()

    def nack(
        self,
        job_id: str,
        attempt: int = 1,
        *,
        code: str = "handler_error",
        blame: int = 1,
        final: int = 0,
        delay_ms: int = 1000,
        process: str = "p1",
    ) -> tuple[int, str]:
        reply = self.call("nack", process, 1, job_id, attempt, code, "boom", "trace", blame, final, delay_ms)
        return reply[1], reply[2].decode()

    def record(self, job_id: str) -> dict[str, Any]:
        """Return the record, by the names of its fields."""
        (found,) = self.call("look", 1, job_id)[1:]
        return {} if found is None else stored(found)

    def state(self, job_id: str) -> str:
        return str(self.record(job_id).get("s", b"").decode())

    def counts(self) -> dict[str, Any]:
        return pairs(self.call("counts")[1])

    def of_queue(self, name: str = "default") -> dict[str, Any]:
        return next(pairs(each[1:]) for each in self.call("counts")[2] if each[0].decode() == name)

    def of_type(self, name: str) -> dict[str, Any]:
        return next((pairs(each[1:]) for each in self.call("counts")[3] if each[0].decode() == name), {})


def pairs(flat: list[Any]) -> dict[str, Any]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
