"""Sendable values: functions and classes are sent to a process by name, all else as pickles.

A process gets a function or a class by its name, not its code, and imports the module that has it. All of it is
checked at start, when every module is loaded: while a decorator runs, its function has no name yet.
"""

from __future__ import annotations

import functools
import inspect
import pickle
import sys
from typing import TYPE_CHECKING, Any

from jobqueue.handlers.signature import classes_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.handlers import Handler


def check_sendable(handler: Handler) -> None:
    """Check that a handler, the types of its arguments and its `retry_on` can be sent to a process.

    Raises:
        ValueError: One of them can't; the message says why, and what to do.
    """
    check_importable(handler.func)
    for cls in classes_in(handler.signature):
        _check_named(cls, f"handler {handler.name!r} can't run in a process with its argument type")
    for option in ("retry_on", "reject_on"):
        for cls in getattr(handler, option) or ():
            _check_named(cls, f"handler {handler.name!r} can't run in a process with its {option}")


def check_importable(func: Callable[..., Any], what: str = "a process can't run the handler") -> None:
    """Check, before the first job needs it, that a process of its own can find this callable.

    Raises:
        ValueError: It can't; the message says why, and what to do.
    """
    if isinstance(func, functools.partial):
        check_importable(func.func, what)
    elif inspect.ismethod(func):
        owner = func.__self__ if isinstance(func.__self__, type) else type(func.__self__)
        _check_named(owner, "a handler can't run in a process with the class of its object,")
    elif callable(func) and not hasattr(func, "__qualname__"):
        _check_named(type(func), "a handler can't run in a process with the class of its object,")
    else:
        _check_named(func, what)
    try:
        pickle.dumps(func)
    except Exception as error:  # what an object does when it is pickled is the application's
        raise ValueError(f"{func!r} can't run in a process: it can't be pickled: {error}") from error


def _check_named(found: Any, what: str) -> None:
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError(f"{what} {found!r}: it is not a plain function of a module; wrap it in one")
    label = f"{module}.{name}"
    if module == "__main__":
        raise ValueError(
            f"{what} {name!r}: it is defined in the program's main file, which a process can't import;"
            " move it to a module of its own and import that"
        )
    if "<" in name:
        kind = "a lambda" if name.endswith("<lambda>") else "defined inside another function"
        raise ValueError(f"{what} {label!r}: it is {kind}; define it at its module's top level")
    held: Any = sys.modules.get(module)
    for step in name.split("."):
        held = getattr(held, step, None)
    if held is not found:
        raise ValueError(
            f"{what} {label!r}: what {module!r} holds under that name is another object (another decorator's, perhaps);"
            " let the name stand for the thing itself"
        )
