"""Redaction: hides the values of some arguments where jobs are shown. The handler gets them as they were sent.

Rules:

1. A name hides the members that have it, at any depth: `password`. A path, with dots, hides one place, counted from the
   arguments on: `user.token`. Arrays have no step of their own: a path goes on in each of their items.
2. A hidden value is replaced whole, whatever it is: an object with all that is in it, and a null, too.
3. What can't be redacted is hidden as a whole: arguments over `REDACTED_BYTES_MAX`, and those that can't be parsed.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.handlers.signature import Members

HIDDEN: Final = "•••"

REDACTED_BYTES_MAX: Final = 256 * 1024
"""Longer arguments are not parsed for this: it would hold up the event loop for milliseconds."""

_ALL_HIDDEN: Final = msgspec.json.encode(HIDDEN)

_Tree = dict[str, Any]
"""The steps of paths; the last one leads to None."""


class Redaction:
    """The names and paths of one handler.

    Args:
        names: As in `@queue.handler(redact=…)`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._anywhere = frozenset(name for name in names if "." not in name)
        self._tree: _Tree = {}
        for path in (name.split(".") for name in names if "." in name):
            self._add(path)

    def apply(self, args: bytes) -> bytes:
        """Return arguments, as JSON, with the hidden values replaced."""
        if len(args) > REDACTED_BYTES_MAX:
            return _ALL_HIDDEN
        try:
            return msgspec.json.encode(self._redacted(msgspec.json.decode(args), self._tree))
        except (ValueError, RecursionError):
            return _ALL_HIDDEN

    def _add(self, path: list[str]) -> None:
        tree = self._tree
        for step in path[:-1]:
            below = tree.setdefault(step, {})
            if below is None:  # a shorter path hides all of it
                return
            tree = below
        tree[path[-1]] = None

    def _redacted(self, value: Any, tree: _Tree) -> Any:
        if isinstance(value, list):
            return [self._redacted(item, tree) for item in value]
        if not isinstance(value, dict):
            return value
        return {name: self._member(name, inner, tree) for name, inner in value.items()}

    def _member(self, name: str, value: Any, tree: _Tree) -> Any:
        below = tree.get(name, _NOWHERE)
        return HIDDEN if below is None or name in self._anywhere else self._redacted(value, below)


_NOWHERE: Final[_Tree] = {}


def fault_of(names: object, members: Members) -> str | None:
    """Return why these can't be the names of a redaction, if so: one that hides nothing would seem to be safe."""
    if not isinstance(names, tuple) or not names or not all(isinstance(name, str) and name for name in names):
        return f"redact is a tuple of names of arguments, such as ('password',), got {names!r:.100}"
    for name in names:
        first, *others = steps = name.split(".")
        if not all(steps):
            return f"redact: {name!r} has an empty step"
        known = members.arguments if others else members.all
        # A path begins with an argument; a name alone, and the further steps, may be members of any depth.
        unknown = "" if first in known or (members.takes_more if others else members.is_open) else first
        unknown = unknown or next((step for step in others if step not in members.all and not members.is_open), "")
        if unknown:
            near = difflib.get_close_matches(unknown, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known)) or 'none'}"
            return f"redact: no argument has {unknown!r}; {hint}"
    return None
