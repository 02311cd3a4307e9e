"""The settings and pauses of queues that several servers share: changed by any of them, and the same on all.

Rules:

1. The store keeps a queue's settings with a digest of the section of the configuration from which they came. A server
   tells its section when it joins and when it reloads: a digest that the store has not, wins once. So a new
   configuration takes effect with the first server that has it, and a change by a request holds until then, whichever
   server starts meanwhile.
2. A server that changes settings, or learns from the mirror that another one has, publishes `PolicyChanged`.
3. A queue that only another server is configured with has its settings there; this one takes no part in it.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any, Final

import msgspec

from jobqueue.backend.valkey.mirror import policy_of
from jobqueue.config.backend import UNSHARED
from jobqueue.core.events import Paused, PolicyChanged, Released, Resumed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobqueue.backend.valkey.calls import Argument, Calls
    from jobqueue.backend.valkey.clock import StoreClock
    from jobqueue.backend.valkey.mirror import Mirror
    from jobqueue.core.events import Event
    from jobqueue.core.policy import QueuePolicy

DIGEST_LENGTH: Final = 16

_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class Queues:
    """The shared settings of the queues of one server.

    Args:
        mirror: It has the copies, and learns of changes by others.
        publish: Passes an event of this process on.

    Attributes:
        on_unknown: Called where the store does not know a queue: it was emptied.
    """

    def __init__(self, calls: Calls, clock: StoreClock, mirror: Mirror, publish: Callable[[Event], None]) -> None:
        self._calls = calls
        self._clock = clock
        self._mirror = mirror
        self._publish = publish
        self._joined = False
        self.on_unknown: Callable[[], None] = lambda: None
        mirror.on_policy = self._note_policy

    async def join(self, sections: Mapping[str, QueuePolicy]) -> None:
        """Tell the settings that this server is configured with, and learn those in effect. Raises StoreUnavailable."""
        for name, policy in sections.items():
            await self._set(name, policy, from_file=True)
        await self._mirror.read_config()
        self._joined = True

    def policies(self) -> Mapping[str, QueuePolicy]:
        """Return the settings of each queue that are in effect, as last heard."""
        return {name: queue.policy for name, queue in self._mirror.queues.items()}

    async def configure_queue(self, queue: str, policy: QueuePolicy) -> None:
        """Tell the settings of the configuration after a reload, as `StoreBackend.configure_queue`."""
        await self._set(queue, policy, from_file=True)

    async def change_queue(self, queue: str, policy: QueuePolicy) -> None:
        """Change a queue's settings on all servers, as `Backend.change_queue`.

        Raises:
            ValueError: The store has no such order.
        """
        if (reason := UNSHARED.get(policy.discipline)) is not None:
            raise ValueError(f"{policy.discipline} does not fit backend: valkey: {reason}")
        await self._set(queue, policy, from_file=False)

    async def pause(
        self, queue: str, *, reason: str | None = None, for_s: float | None = None, by: str | None = None
    ) -> None:
        """Start no more jobs of a queue on any server, as `Backend.pause`. Raises StoreUnavailable."""
        for_ms = -1 if for_s is None else max(1, round(for_s * 1000))
        reply = await self._call("pause", queue, reason or "", for_ms, by or "")
        if not reply[1]:
            self.on_unknown()
            raise self._mirror.unknown(queue)
        await self._mirror.refresh()
        pause = self._mirror.queues[queue].pause
        if pause is not None:
            self._publish(Paused(queue, pause))

    async def resume(self, queue: str, *, by: str | None = None) -> None:
        """Start a queue's jobs again on all servers, as `Backend.resume`."""
        reply = await self._call("resume", queue, by or "")
        await self._mirror.refresh()
        if reply[1]:
            self._publish(Resumed(queue, by))

    async def release(self, job_type: str) -> bool:
        """End a type's quarantine, as `Backend.release`."""
        reply = await self._call("release", secrets.token_hex(8), job_type)
        await self._mirror.refresh()
        if reply[1]:
            self._publish(Released(job_type, on_request=True))
        return bool(reply[1])

    async def _set(self, name: str, policy: QueuePolicy, *, from_file: bool) -> None:
        reply = await self._call(
            "set_queue",
            name,
            digest_of(policy),
            int(from_file),
            _encode(policy),
            policy.capacity,
            policy.workers,
            policy.weight,
            policy.discipline.value,
            -1 if policy.aging_s is None else max(1, round(policy.aging_s * 1000)),
            policy.retry_budget,
        )
        self._mirror.note_change()
        self._take(name, policy_of(reply[3], self._mirror.queues[name].policy))

    def _take(self, name: str, policy: QueuePolicy) -> None:
        queue = self._mirror.queues[name]
        if policy != queue.policy:
            queue.policy = policy
            self._note_policy(name, policy)

    def _note_policy(self, name: str, policy: QueuePolicy) -> None:
        if self._joined:  # else those in effect are only being learnt
            self._publish(PolicyChanged(name, policy))

    async def _call(self, function: str, *args: Argument) -> list[Any]:
        reply = await self._calls.call(function, args)
        self._clock.hear(reply[0])
        return reply


def digest_of(policy: QueuePolicy) -> str:
    """Return what tells two sections of a configuration apart."""
    return hashlib.blake2b(_encode(policy), digest_size=DIGEST_LENGTH // 2).hexdigest()
