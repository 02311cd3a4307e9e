"""Publishing: data for a topic becomes one job of each subscriber, all of them or none.

Rules:

1. The data is checked against the signature of each subscriber before the first job is made.
2. Jobs are made together: if the queue of one has no slot, none is made.
3. A publish with the idempotency key of an earlier one makes no job, as long as a job of that one is held. Its first
   job has the key itself, the others have it with the name of their subscriber: so the key is that of one publish or
   one submission. All of these names are looked up, whichever subscribers would get a job now.
4. Listeners are told after the jobs are held, at most once; not of a repeated publish.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from jobqueue.core.job import IdempotencyKey, JobId, Uniqueness
from jobqueue.core.record import changed
from jobqueue.core.topics import Pattern, TopicIndex
from jobqueue.errors import Draining, InvalidField, InvalidSubmission, NotInStore
from jobqueue.handlers import plain_uniqueness
from jobqueue.publish_values import checked_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobqueue.backend.base import Backend
    from jobqueue.backend.local import LocalBackend
    from jobqueue.config import Settings
    from jobqueue.core.job import Job, JobSpec
    from jobqueue.core.submit import Asked
    from jobqueue.errors import Refused

TURN_S: Final = 0.001

FINGERPRINT_BYTES: Final = 16

NOT_IN_STORE: Final = (
    "data can't be published with backend: valkey, whose servers don't accept several jobs as one: submit the jobs "
    "of the subscribers"
)


class Accepting(Protocol):
    """A `Service`, as far as publishing needs it."""

    settings: Settings
    draining: bool
    local: LocalBackend
    why_not_ready: Callable[[], Refused] | None

    @property
    def backend(self) -> Backend: ...

    def wall(self, instant: float) -> float: ...


class Subscriber(Protocol):
    """What gets a job for what is published to some topics.

    Attributes:
        name: Differs from those of all others.
        spec: The options of its jobs.
        patterns: Those of its topics.
    """

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> JobSpec: ...

    @property
    def patterns(self) -> tuple[Pattern, ...]: ...

    def arguments(self, topic: str, data: bytes) -> bytes | None:
        """Return the arguments of its job for data, both JSON; None: it gets no job now.

        Raises:
            InvalidSubmission: It can't take the data; with pointers from `/data` on.
        """
        ...

    def left_out(self) -> None:
        """Count a publish that made the jobs of all other subscribers, and none for this one: it had no arguments."""


class PublishedJob(msgspec.Struct, frozen=True):
    """A job of a publish."""

    id: JobId
    type: str


class Publication(msgspec.Struct, frozen=True):
    """What became of data that was published.

    Attributes:
        jobs: One for each subscriber; of a repeated publish, those that are still held.
        duplicate: The idempotency key is that of an earlier publish, and these are its jobs.
    """

    jobs: tuple[PublishedJob, ...]
    duplicate: bool = False


class Published(msgspec.Struct, frozen=True):
    """What was published, for listeners.

    Attributes:
        data: JSON.
        at: The instant, in Unix seconds.
        owner: The caller to which it belongs; None: it is no secret.
    """

    topic: str
    data: bytes
    at: float
    owner: str | None


class Publishing:
    """The topics of one queue.

    Args:
        handlers: The subscribers among the handlers, which are registered before the start.

    Attributes:
        published_total: Data that was published; repeated ones don't count.
        delivered: Jobs that were made for it, by the name of the subscriber.
        unheard_total: Data for which there was no subscriber.
        turn_s: How long data is checked before other tasks run, in seconds: many subscribers may read much of it.
    """

    def __init__(self, service: Accepting, handlers: Sequence[Subscriber]) -> None:
        self._service = service
        self._handlers = handlers
        self._others: tuple[Subscriber, ...] = ()
        self._index: TopicIndex[Subscriber] | None = None
        self._listeners: tuple[Callable[[Published], None], ...] = ()
        self.published_total = self.unheard_total = 0
        self.delivered: Counter[str] = Counter()
        self.turn_s: float = TURN_S

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """All subscribers, in the order in which their jobs are made."""
        return (*self._handlers, *self._others)

    @property
    def heard(self) -> bool:
        """Whether there are listeners."""
        return bool(self._listeners)

    def set_others(self, subscribers: Sequence[Subscriber]) -> None:
        """Replace the subscribers that are no handlers."""
        self._others, self._index = tuple(subscribers), None

    def of(self, topic: str) -> list[Subscriber]:
        """Return the subscribers of a valid topic."""
        if self._index is None:
            self._index = TopicIndex()
            for subscriber in self.subscribers:
                self._index.add(subscriber.patterns, subscriber)
        return self._index.of(topic)

    def listen(self, listener: Callable[[Published], None]) -> Callable[[], None]:
        """Tell a listener, which must not raise, of all that is published from now on; return what ends that."""
        self._listeners = (*self._listeners, listener)

        def leave() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

        return leave

    def check_shared(self) -> None:
        """Raise NotInStore if the jobs are in a store: then nothing is published."""
        if self._service.settings.backend == "valkey":
            raise NotInStore(NOT_IN_STORE)

    def refuse_unread(self, topic: str, identity: Uniqueness | None = None) -> Refused | None:
        """Return why data for a valid topic would be rejected now, whatever it is; None: it may be accepted.

        Args:
            identity: The caller, with the idempotency key, if it has one. That of an earlier publish, with any job
                that is held, may be accepted.
        """
        subscribers, backend = self.of(topic), self._service.backend
        if not subscribers and self._service.draining:
            return Draining()
        if identity is not None and identity.key is not None:
            key, under_key = identity.key.key, self._service.local.under_key
            if any(under_key(identity.caller, name) is not None for name in self._keys_of(key)):
                return None
        for spec in (subscriber.spec for subscriber in subscribers):
            refusal = backend.refuse_unseen(spec.queue, identity, job_type=spec.type)
            if refusal is not None:
                return refusal
        return None

    async def publish(
        self,
        topic: str,
        data: bytes,
        *,
        caller: str | None = None,
        owner: str | None = None,
        key: str | None = None,
        traceparent: str | None = None,
    ) -> Publication:
        """Make a job for each subscriber of a topic; once this returns, the queue holds all of them.

        Args:
            data: Valid JSON.
            caller, owner, traceparent: As of `Service.accept`.
            key: Idempotency key of the caller, printable ASCII.

        Raises:
            InvalidSubmission: The topic is invalid, or the data is for one of the subscribers.
            KeyReused: The caller used the key for something else.
            Refused: As of `JobQueue.submit`; none of the jobs was accepted.
            NotInStore: The jobs are in a store.
        """
        service, backend = self._service, self._service.backend
        self.check_shared()
        subscribers, rows, left_out = await _arguments(self.of(checked_topic(topic)), topic, data, self.turn_s)
        if service.why_not_ready is not None:
            raise service.why_not_ready()
        published = Published(topic, data, service.wall(backend.now()), owner)
        digest = None if key is None else _digest(topic, data)
        keys = [
            None if key is None or digest is None else IdempotencyKey(_key_of(key, each) if number else key, digest)
            for number, each in enumerate(subscribers)
        ]
        asked = [
            _asked(subscriber.spec, args, caller, owner, each, traceparent)
            for subscriber, args, each in zip(subscribers, rows, keys, strict=True)
        ]
        # From here on without an await: another publish under this key comes before or after.
        if key is not None and digest is not None and (earlier := self._earlier(caller, key)):
            return await self._repeated(earlier, caller, owner, digest)
        if not asked and service.draining:
            raise Draining
        results = await backend.submit_together(asked) if asked else []
        for subscriber in left_out:
            subscriber.left_out()
        self.published_total += 1
        self.unheard_total += not results
        self.delivered.update(subscriber.name for subscriber in subscribers)
        for listener in self._listeners:
            listener(published)
        return Publication(tuple(PublishedJob(each.job.id, each.job.spec.type) for each in results))

    def _keys_of(self, key: str) -> list[str]:
        """Return the keys that the jobs of a publish may have: which of them has the key itself is not known."""
        return [key, *(_key_of(key, subscriber) for subscriber in self.subscribers)]

    def _earlier(self, caller: str | None, key: str) -> dict[str, Job]:
        """Return the held jobs under the names of a key, each once, by its name."""
        under_key = self._service.local.under_key
        names = self._keys_of(key)
        return {name: job for name in names if (job := under_key(caller, name)) is not None}

    async def _repeated(
        self, earlier: Mapping[str, Job], caller: str | None, owner: str | None, digest: bytes
    ) -> Publication:
        """Return the held jobs of an earlier publish. Raises KeyReused."""
        found = [(name, job.spec, job.args) for name, job in earlier.items()]
        asked: list[Asked] = [
            (spec, args, None, Uniqueness(caller, None, IdempotencyKey(name, digest), owner=owner))
            for name, spec, args in found
        ]
        receipts = await self._service.backend.submit_many(asked)
        jobs: list[PublishedJob] = []
        for receipt, (_, spec, _) in zip(receipts, found, strict=True):
            if isinstance(receipt, Exception):
                raise receipt
            jobs.append(PublishedJob(receipt.id, spec.type))
        return Publication(tuple(jobs), duplicate=True)


async def _arguments(
    subscribers: Sequence[Subscriber], topic: str, data: bytes, turn_s: float
) -> tuple[list[Subscriber], list[bytes], list[Subscriber]]:
    """Return the subscribers that get a job, the arguments for each (equal ones are one object), and the other ones.

    Raises:
        InvalidSubmission
    """
    getting: list[Subscriber] = []
    left_out: list[Subscriber] = []
    rows: list[bytes] = []
    shared: dict[bytes, bytes] = {}
    faults: list[InvalidField] = []
    more = 0
    turn_ends_at = time.monotonic() + turn_s
    for subscriber in subscribers:
        if time.monotonic() >= turn_ends_at:
            await asyncio.sleep(0)
            turn_ends_at = time.monotonic() + turn_s
        try:
            args = subscriber.arguments(topic, data)
            if args is not None:
                getting.append(subscriber)
                rows.append(shared.setdefault(args, args))
            else:
                left_out.append(subscriber)
        except InvalidSubmission as invalid:
            faults += invalid.errors
            more += invalid.more
    if faults:
        raise InvalidSubmission(*faults, more=more)
    return getting, rows, left_out


def _digest(topic: str, data: bytes) -> bytes:
    return blake2b(b"%b\n%b" % (topic.encode(), data), digest_size=FINGERPRINT_BYTES).digest()


def _key_of(key: str, subscriber: Subscriber) -> str:
    """Return the key of a job that is not the first one of a publish. No caller's own key has a line break."""
    return f"{key}\n{subscriber.name}"


def _asked(
    spec: JobSpec,
    args: bytes,
    caller: str | None,
    owner: str | None,
    key: IdempotencyKey | None,
    traceparent: str | None,
) -> Asked:
    """Return what the backend is asked for a job."""
    identity: Uniqueness | None = None
    if key is not None:
        identity = Uniqueness(caller, None, key, owner=owner)
    elif caller is not None:
        identity = plain_uniqueness(caller, owner)
    if traceparent is not None:
        spec = changed(spec, own=True, traceparent=traceparent)
    return spec, args, None, identity
