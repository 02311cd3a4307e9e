"""The way from a handler to its queue: on the loop, from a thread, and for the questions of a process.

Rules:

1. What an attempt asks is answered for its own job alone: its parents, their results, children of its own. The job and
   the attempt are named by the runtime, never by a process.
2. An attempt that is over can't submit any more (`StaleLease`).
3. A process asks one question at a time, and waits for the answer (`questions.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from jobqueue.duration import as_seconds
from jobqueue.handlers.child_submission import ChildSubmission, child_of
from jobqueue.runtime.pools import questions
from jobqueue.runtime.pools.messages import InvalidMessage
from jobqueue.runtime.pools.questions import ParentsQuestion, PublishQuestion, ResultQuestion, SubmitQuestion

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from jobqueue.parents import ParentRecord
    from jobqueue.runtime.pools.call import Call
    from jobqueue.runtime.pools.questions import Question

T = TypeVar("T")


class Family(Protocol):
    """The calls of a queue that handlers make while they run, on the loop."""

    def parents_of(self, job_id: str) -> Sequence[ParentRecord]:
        """Return the parents of a live job, in order."""
        ...

    def result_of(self, parent_id: str) -> bytes:
        """Return the result of one of its parents, as JSON. Raises JobGone."""
        ...

    async def submit_child(self, job_id: str, attempt: int, child: ChildSubmission) -> str:
        """Submit a job from within an attempt; return its id. Raises as `JobContext.submit`."""
        ...

    async def publish_from(self, job_id: str, attempt: int, topic: str, data: bytes, key: str | None) -> list[str]:
        """Publish data from within an attempt; return the ids of its jobs. Raises as `JobContext.publish`."""
        ...


class LoopReach:
    """The way of handlers on the loop."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def parents(self, job_id: str) -> Sequence[ParentRecord]:
        """Return the parents of a job."""
        return self._family.parents_of(job_id)

    def result(self, parent_id: str) -> bytes:
        """Return the result of one of them."""
        return self._family.result_of(parent_id)

    def submit(self, job_id: str, attempt: int, fields: dict[str, Any]) -> Coroutine[Any, Any, str]:
        """Submit a job: a coroutine that returns its id."""
        return self._family.submit_child(job_id, attempt, made(fields))

    def publish(
        self, job_id: str, attempt: int, topic: str, data: bytes, key: str | None
    ) -> Coroutine[Any, Any, list[str]]:
        """Publish data: a coroutine that returns the ids of its jobs."""
        return self._family.publish_from(job_id, attempt, topic, data, key)


class ThreadReach:
    """The way of handlers in threads: each call is made on the loop, and its thread waits for it."""

    def __init__(self, family: Family, loop: asyncio.AbstractEventLoop) -> None:
        self._family = family
        self._loop = loop

    def parents(self, job_id: str) -> Sequence[ParentRecord]:
        """Return the parents of a job."""
        return self._called(lambda: self._family.parents_of(job_id))

    def result(self, parent_id: str) -> bytes:
        """Return the result of one of them."""
        return self._called(lambda: self._family.result_of(parent_id))

    def submit(self, job_id: str, attempt: int, fields: dict[str, Any]) -> str:
        """Submit a job; return its id."""
        return self._awaited(self._family.submit_child(job_id, attempt, made(fields)))

    def publish(self, job_id: str, attempt: int, topic: str, data: bytes, key: str | None) -> list[str]:
        """Publish data; return the ids of its jobs."""
        return self._awaited(self._family.publish_from(job_id, attempt, topic, data, key))

    def _called(self, func: Callable[[], T]) -> T:
        async def call() -> T:
            return func()

        return self._awaited(call())

    def _awaited(self, steps: Coroutine[Any, Any, T]) -> T:
        try:
            future = asyncio.run_coroutine_threadsafe(steps, self._loop)
        except RuntimeError:  # the loop is closed, and the attempt over
            steps.close()
            raise
        return future.result()


class Answers:
    """The answers to the questions of one call in a process."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._parents: frozenset[str] = frozenset()

    async def answer(self, call: Call, question: bytes) -> bytes:
        """Answer a question. Raises InvalidMessage if it is none."""
        asked = questions.question_of(question)
        if isinstance(asked, ResultQuestion) and asked.parent_id not in self._parents:
            raise InvalidMessage("a question about a job that is no parent")
        try:
            return questions.answer(await self._answered(call, asked))
        except Exception as error:
            return questions.refusal(error)

    async def _answered(self, call: Call, asked: Question) -> Sequence[ParentRecord] | Sequence[str] | bytes | str:
        job_id, attempt = call.job_id, call.attempt
        match asked:
            case ParentsQuestion():
                records = self._family.parents_of(job_id)
                self._parents = frozenset(record.id for record in records)
                return records
            case ResultQuestion(parent_id):
                return self._family.result_of(parent_id)
            case PublishQuestion(topic, data, key):
                msgspec.json.decode(data)  # the process may have sent any bytes
                return await self._family.publish_from(job_id, attempt, topic, data, key)
            case SubmitQuestion(child):
                submission = msgspec.json.decode(child, type=ChildSubmission)
                return await self._family.submit_child(job_id, attempt, submission)


def made(fields: dict[str, Any]) -> ChildSubmission:
    """Make a child's submission of a handler's values. Raises InvalidSubmission."""
    return child_of({name: as_seconds(value) if name.endswith("_s") else value for name, value in fields.items()})
