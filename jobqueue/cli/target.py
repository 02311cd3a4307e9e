"""The target of `jobqueue serve`: a module or a file, and the JobQueue in it.

It imports `tasks:queue` and `path/to/tasks.py:queue` so that a process for
handlers can import the same functions by the same name, and explains a failure.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueue.app import JobQueue
from jobqueue.errors import JobQueueError
from jobqueue.paths import written_path
from jobqueue.process.signals import signals
from jobqueue.runtime.pools.child import search_last

if TYPE_CHECKING:
    from types import ModuleType

ATTRIBUTE = "queue"
PACKAGE = str(Path(__file__).parent.parent) + os.sep
FORMS = "give MODULE:ATTRIBUTE or PATH.py:ATTRIBUTE"


class BadTarget(JobQueueError):
    """The target is no JobQueue; the message says why, and may quote the module's own traceback."""


def find(target: str) -> JobQueue:
    """Import the target's module and return the JobQueue in it.

    The folder of a file, or the current one for a module, goes to the front of `sys.path`: the
    module's own imports work as if Python had been started there. A process for handlers looks there last.

    Raises:
        BadTarget: There is none.
    """
    place, _, attribute = target.partition(":")
    attribute = attribute or ATTRIBUTE
    if not place or not attribute.isidentifier():
        raise BadTarget(f"{target!r} is not a valid target: {FORMS}")
    module = _import_file(_path(place)) if place.endswith(".py") else _import_module(_named(place))
    found = getattr(module, attribute, None)
    if isinstance(found, JobQueue):
        return found
    queues = [name for name, value in vars(module).items() if isinstance(value, JobQueue)]
    hint = f"; it has {', '.join(f'{place}:{name}' for name in queues)}" if queues else ""
    if found is JobQueue:
        raise BadTarget(
            f"{attribute!r} in {place} is the class itself: create an instance, {attribute} = JobQueue(){hint}"
        )
    if hasattr(module, attribute):
        called = ": use its return value" if inspect.isfunction(found) and not hint else ""
        raise BadTarget(f"{attribute!r} in {place} is of type {type(found).__name__}, not a JobQueue{called}{hint}")
    raise BadTarget(f"{place} has no {attribute!r}{hint}")


def _path(place: str) -> Path:
    try:
        return written_path(place)
    except ValueError as error:
        raise BadTarget(f"{place}: {error}") from None


def _named(place: str) -> str:
    """Return the name of a module. Raises BadTarget with a suggestion if it is a file or folder."""
    path = _path(place)
    beside = path.with_name(f"{path.name}.py")
    if all(part.isidentifier() for part in place.split(".")) and not path.is_file():
        return place
    if beside.is_file():
        raise BadTarget(f"{place!r} is not a module name; did you mean {place}.py?")
    if path.is_dir():
        raise BadTarget(f"{place!r} is a folder: {FORMS}")
    if path.exists():
        raise BadTarget(f"{place!r} is not a .py file: {FORMS}")
    return place


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadTarget(f"{path}: no such file")
    name = path.stem
    if "." in name or name in sys.stdlib_module_names or name in sys.modules:
        raise BadTarget(f"{path}: {name!r} can't be imported as a module's name: rename the file")
    _look_first_in(path.parent)
    return _import(name, str(path))


def _import_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise BadTarget(f"{name!r} is neither a module name nor a .py file: {FORMS}")
    _look_first_in(Path())
    return _import(name, name)


def _look_first_in(folder: Path) -> None:
    try:
        sys.path.insert(0, str(folder.resolve()))
    except FileNotFoundError:
        raise BadTarget("the current folder has been deleted: change to an existing one") from None
    search_last(str(folder))


def _import(name: str, shown: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and f"{name}.".startswith(f"{missing.name}."):
            raise BadTarget(f"no module named {missing.name!r}, neither here nor installed: {FORMS}") from None
        raise BadTarget(_told(shown, missing)) from missing
    except SystemExit as ended:
        if signals.stopped:  # a stop during the start raises SystemExit
            raise
        raise BadTarget(_told(shown, ended)) from ended
    except Exception as error:
        raise BadTarget(_told(shown, error)) from error


def _told(shown: str, error: BaseException) -> str:
    """Quote the traceback, from the module's own first line to its last: the others are this package's and the
    import system's.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    if isinstance(error, ValueError | TypeError):
        while len(own) > 1 and own[-1].filename.startswith(PACKAGE):
            own.pop()
    told = "".join(traceback.format_list(own) + traceback.format_exception_only(error))
    return f"{shown} can't be imported:\n{told.rstrip()}"
