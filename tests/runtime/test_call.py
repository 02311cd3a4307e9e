from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.runtime.call import check_importable
from tests.runtime import blocking

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


def test_what_a_process_cannot_import_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def local() -> None:
        pass

    check_importable(blocking.echo)
    with pytest.raises(ValueError, match="defined inside another function; define it with `def` at its module's top"):
        check_importable(local)
    with pytest.raises(ValueError, match="it is a lambda"):
        check_importable(lambda: None)
    with pytest.raises(ValueError, match="under that name is another object"):
        check_importable(shadow)
    with pytest.raises(ValueError, match="no plain function"):
        check_importable(object())  # type: ignore[arg-type]
    monkeypatch.setattr(shadowed, "__module__", "__main__")
    with pytest.raises(ValueError, match="main file, which a process can't import; move it to a module of its own"):
        check_importable(shadowed)
