"""Steps: runs a coroutine in a context of its own, its first step apart from the rest.

Most handlers on the loop end in their first step. A caller that knows that can go on at once, in the same task.

Rules:

1. `begin` runs the coroutine until it ends or suspends, within the given context. Nothing that it sets there reaches
   the caller's context.
2. A coroutine that suspends is awaited by the caller (`Suspended`), in the same task: it sees one current task
   throughout, and a cancellation of that task reaches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from contextvars import Context

T = TypeVar("T")


def begin(coroutine: Coroutine[Any, Any, T], context: Context) -> T | Suspended[T]:
    """Run the first step of a coroutine; return its result if that was all. Raises what the coroutine raises."""
    try:
        awaited = context.run(coroutine.send, None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a coroutine's result
    return Suspended(coroutine, context, awaited)


class Suspended(Generic[T]):
    """The rest of a coroutine; await it once, in the task of its first step."""

    __slots__ = ("_awaited", "_context", "coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, T], context: Context, awaited: object) -> None:
        self.coroutine, self._context, self._awaited = coroutine, context, awaited

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine, run, awaited = self.coroutine, self._context.run, self._awaited
        try:
            while True:
                thrown: BaseException | None = None
                try:
                    sent = yield awaited
                except BaseException as error:  # a cancellation, or the end of the generator
                    thrown = error
                if thrown is None:
                    awaited = run(coroutine.send, sent)
                    continue
                # Not within `except`: the coroutine would see the exception as being handled, even after it caught it.
                try:
                    awaited = run(coroutine.throw, thrown)
                finally:
                    del thrown  # its traceback refers to this frame
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a coroutine's result
