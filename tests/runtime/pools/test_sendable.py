from __future__ import annotations

import enum
import functools
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import pytest

from jobqueue import JobQueue
from jobqueue.core.report import Success
from jobqueue.runtime.pools.processes import ProcessPool
from jobqueue.runtime.pools.sendable import check_importable, check_sendable
from tests.runtime.pools import blocking
from tests.runtime.pools.calling import run

if TYPE_CHECKING:
    from collections.abc import Callable


def a_decorator(func: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper() -> None:
        func()

    wrapper.__module__, wrapper.__qualname__ = func.__module__, func.__qualname__
    return wrapper


def shadowed() -> None:
    pass


shadow = a_decorator(shadowed)


def test_a_function_that_no_process_can_import_raises_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def local() -> None:
        pass

    check_importable(blocking.echo)
    with pytest.raises(ValueError, match="defined inside another function; define it at its module's top"):
        check_importable(local)
    with pytest.raises(ValueError, match="it is a lambda"):
        check_importable(lambda: None)
    with pytest.raises(ValueError, match="under that name is another object"):
        check_importable(shadow)
    with pytest.raises(ValueError, match="not a plain function"):
        check_importable(object())  # type: ignore[arg-type]  # invalid on purpose
    monkeypatch.setattr(shadowed, "__module__", "__main__")
    with pytest.raises(ValueError, match="main file, which a process can't import; move it to a module of its own"):
        check_importable(shadowed)


# -- types, exceptions and callable objects


@dataclass
class Known:
    a: int


class Named(NamedTuple):
    a: int


class Kind(enum.Enum):
    A = "a"


class KnownError(Exception): ...


class Adder:
    def __init__(self, b: int) -> None:
        self.b = b

    def __call__(self, a: int) -> int:
        return a + self.b

    def add(self, a: int) -> int:
        return a + self.b


def takes(known: Known | None, many: list[Named], kind: Kind = Kind.A, at: datetime | None = None) -> None: ...


def add(a: int, b: int) -> int:
    return a + b


def started(func: Callable[..., Any], **options: Any) -> None:
    """Register a handler and check it as the start of a queue does."""
    queue = JobQueue()
    queue.handler(name="it", run_in="process", **options)(func)
    (handler,) = queue.service.registry
    check_sendable(handler)


def test_types_exceptions_and_callables_at_module_level_are_accepted() -> None:
    started(takes, retry_on=(KnownError, OSError, TimeoutError))
    started(functools.partial(add, b=5))
    started(Adder(5))
    started(Adder(5).add)


def test_types_exceptions_and_callables_that_cannot_be_pickled_raise_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Local:
        a: int

    class LocalError(Exception): ...

    def takes_local(a: Any) -> None: ...

    for hint in (Local, list[Local], dict[str, Local | None], Annotated[Local, "it"]):
        monkeypatch.setitem(takes.__annotations__, "known", hint)
        with pytest.raises(
            ValueError, match=r"with its argument type '.*Local': it is defined inside another function"
        ):
            started(takes)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"with its retry_on '.*LocalError': it is defined inside another function"):
        started(takes, retry_on=(OSError, LocalError))
    with pytest.raises(ValueError, match=r"with its reject_on '.*LocalError': it is defined inside another function"):
        started(takes, reject_on=LocalError)
    with monkeypatch.context() as patch:
        patch.setattr(Known, "__module__", "__main__")
        with pytest.raises(
            ValueError, match="with its argument type 'Known': it is defined in the program's main file"
        ):
            started(takes)
    with pytest.raises(ValueError, match="can't be pickled"):
        started(functools.partial(add, b=threading.Lock()))
    with pytest.raises(ValueError, match="inside another function"):
        started(functools.partial(takes_local))


async def test_the_start_rejects_a_handler_that_no_process_can_run() -> None:
    class LocalError(Exception): ...

    queue = JobQueue()
    queue.handler(run_in="process", retry_on=LocalError)(blocking.echo)
    with pytest.raises(ValueError, match="handler 'echo' can't run in a process with its retry_on"):
        await queue.start()
    assert not queue.running


async def test_partials_and_callable_objects_run_in_a_process() -> None:
    pool = ProcessPool(size=1)
    assert await run(pool, functools.partial(blocking.echo, value=5)) == Success(b"5")
    assert await run(pool, Adder(5), a=1) == Success(b"6")
    assert await run(pool, Adder(5).add, a=1) == Success(b"6")
    await pool.close()
