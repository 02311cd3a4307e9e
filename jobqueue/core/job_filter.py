"""JobFilter: the conditions of a list, a count, or an action on many jobs.

Rules:

1. A job matches if it meets all conditions that are given. Cheap ones are asked first.
2. Arguments are looked into without building them, and up to `ARGS_SEARCHED_BYTES_MAX`: a job with more of them, in
   which the name occurs, is neither a match nor none (None).
3. A name that its handler redacts is not in the arguments, as far as a filter can tell: else it could be guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.core.job import FAILED, JobState
from jobqueue.core.masking import cost_of, failure_id
from jobqueue.core.report import ErrorCode

if TYPE_CHECKING:
    from jobqueue.core.job_view import AnyJob

ARGS_SEARCHED_BYTES_MAX: Final = 64 * 1024
"""The longest arguments that are decoded: up to half a millisecond."""

UNIT_BYTES: Final = 512
"""Bytes of arguments that take as long as the rest of a record."""

UNIT_PARENTS: Final = 32
"""Parents of a job that take as long to compare."""

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_SCALAR: Final = msgspec.json.Decoder()

Scalar = str | int | float | bool | None


class ArgFilter(msgspec.Struct, frozen=True):
    """A condition on one value in the arguments.

    Attributes:
        path: Names of members, from the outside in; in an array a position, from 0.
        values: The value is one of these. Numbers are equal as numbers are; a text is no number.
    """

    path: tuple[str, ...]
    values: tuple[Scalar, ...]

    def matches(self, args: bytes) -> bool | None:
        """Whether these arguments, as JSON, meet it; None: they are too long to be looked into."""
        # A text without escapes has the name as it is: most arguments need no decoding.
        name = self.path[0]
        if args.find(f'"{name}"'.encode("utf-8", "surrogatepass")) < 0 and args.find(b"\\") < 0:
            return False
        if len(args) > ARGS_SEARCHED_BYTES_MAX:
            return None
        try:
            raw = _inside(args, self.path)
            found = msgspec.UNSET if raw is None else _SCALAR.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        return any(_same(found, value) for value in self.values)

    def meets(self, redacted: tuple[tuple[str, ...], ...]) -> bool:
        """Whether the value may be one that is hidden: by a name at any depth, or by a path.

        A path goes on in each item of an array, so positions don't count; nor do members with a name of digits.
        """
        path = _without_positions(self.path)
        for hidden in redacted:
            if len(hidden) == 1 and hidden[0] in self.path:
                return True
            steps = _without_positions(hidden)
            if len(hidden) > 1 and path[: len(steps)] == steps:
                return True
        return False


def _without_positions(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in path if not name.isdecimal())


def _inside(args: bytes, path: tuple[str, ...]) -> bytes | None:
    """Return the JSON of the scalar at a path; None: there is none."""
    raw = args
    for name in path:
        # Arguments are an object; inside, a Raw begins with its first character.
        if raw.startswith(b"["):
            items = _ARRAY.decode(raw) if name.isascii() and name.isdecimal() and len(name) < 6 else []
            value = items[int(name)] if name.isdecimal() and int(name) < len(items) else None
        else:
            value = _OBJECT.decode(raw).get(name)
        if value is None:
            return None
        raw = bytes(value)
    return None if raw.startswith((b"{", b"[")) else raw


def _same(found: object, value: Scalar) -> bool:
    return found == value and isinstance(found, bool) == isinstance(value, bool)


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions; None matches all.

    Attributes:
        id_prefix: The beginning of its id.
        parent: The id of one of its parents. A child was submitted after it.
        created_from, created_before: Instants of the backend's clock, the second one excluded.
        error: The code of its error.
        failure: The id of its group of failures; only a failed job is in one.
        message: A part of its error's message, in the form of `str.casefold`.
        args: Values in its arguments, which it has until it is terminal, and as a failed job.
        redacted: By type, the names and paths in arguments that no filter sees, as its handler redacts them.
        owner: The caller to which it belongs.
    """

    state: JobState | None = None
    type: str | None = None
    queue: str | None = None
    group: str | None = None
    id_prefix: str | None = None
    parent: str | None = None
    created_from: float | None = None
    created_before: float | None = None
    error: ErrorCode | None = None
    failure: str | None = None
    message: str | None = None
    args: tuple[ArgFilter, ...] = ()
    redacted: Mapping[str, tuple[tuple[str, ...], ...]] = {}
    owner: str | None = None

    def matches(self, job: AnyJob) -> bool | None:
        """Whether a job meets all conditions; None: its arguments are too long to tell."""
        spec = job.spec
        return (
            (self.state is None or job.state is self.state)
            and (self.type is None or spec.type == self.type)
            and (self.queue is None or spec.queue == self.queue)
            and (self.group is None or spec.group == self.group)
            and (self.created_from is None or job.created_at >= self.created_from)
            and (self.created_before is None or job.created_at < self.created_before)
            and (self.owner is None or job.owner == self.owner)
            and (self.id_prefix is None or job.id.startswith(self.id_prefix))
            and (self.parent is None or self._has_parent(job))
            and (self.error is None or self._has_error(job))
            and (self.failure is None or self._is_in_group(job))
            and (self.message is None or self._has_message(job))
            and (not self.args or self._has_args(job))
        )

    def cost(self, job: AnyJob) -> int:
        """Return the units of work that `matches` takes at most, of about 1 µs; long arguments take some."""
        args = 1 + len(job.args) // UNIT_BYTES if self.args else 0
        error = job.error if self.failure is not None and job.state is FAILED else None
        masking = 0 if error is None else cost_of(error.message)
        lineage = None if self.parent is None else job.lineage
        parents = 0 if lineage is None else len(lineage.parents) // UNIT_PARENTS
        return 1 + args + masking + parents + (self.message is not None)

    def _has_parent(self, job: AnyJob) -> bool:
        lineage = job.lineage
        return lineage is not None and self.parent in lineage.parents

    def _has_error(self, job: AnyJob) -> bool:
        error = job.error
        return error is not None and error.code == self.error

    def _is_in_group(self, job: AnyJob) -> bool:
        error = job.error if job.state is FAILED else None
        return error is not None and failure_id(job.spec.type, error.code.value, error.message) == self.failure

    def _has_message(self, job: AnyJob) -> bool:
        error = job.error
        return self.message is not None and error is not None and self.message in error.message.casefold()

    def _has_args(self, job: AnyJob) -> bool | None:
        redacted, known = self.redacted.get(job.spec.type), True
        for condition in self.args:
            if redacted is not None and condition.meets(redacted):
                return False
            has = condition.matches(job.args)
            if has is False:
                return False
            known = known and has is True
        return True if known else None
