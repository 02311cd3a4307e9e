"""Validation: turns msgspec's errors into faults with JSON pointers, all of them and not only the first.

The work is bounded by the number of fields and the size of their values, and so is what is made: of unknown names the
first `FAULTS_MAX` are named and the rest counted, and no more than `SHOWN_MAX` characters of a name are repeated.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.errors import DETAIL_MAX, FAULTS_MAX, InvalidField, InvalidSubmission, shown
from jobqueue.handlers import foreign
from jobqueue.handlers.result import described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    FieldInfo = msgspec.structs.FieldInfo
    Hook = Callable[[Any, Any], Any]

PATH_MAX = 1000
"""Characters of a path into a value, as msgspec writes it; longer ones are no paths but names that a client made."""


class ObjectCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The search for all faults of a JSON object, after its decoder has raised at the first.

    Attributes:
        fields: The fields of the struct that the object is decoded to.
        base: The pointer to the object.
        called: The term for one of its fields, in the details.
        shape: The detail where the JSON is no object.
        unknown: The detail of the first name that is no field's; None: every name is allowed.
        not_checked: The types of fields that may have any value.
        refusal: The exception that carries the faults.
    """

    fields: Collection[FieldInfo]
    base: str
    called: str
    shape: str
    unknown: str | None
    not_checked: Collection[Any] = ()
    refusal: type[InvalidSubmission] = InvalidSubmission

    def last_ones(self, body: bytes | bytearray, error: BaseException, document: Any = msgspec.UNSET) -> bytes:
        """Return the body with only the last of duplicate keys, to be decoded instead: only earlier ones were wrong.

        Args:
            error: The decoder's.
            document: The body, parsed; UNSET: it is parsed here.

        Raises:
            InvalidSubmission: All faults found (as `refusal`).
        """
        if isinstance(error, RecursionError):
            raise self._refused("nested too deeply") from None
        if document is msgspec.UNSET:
            document = self._parsed(body)
        if not isinstance(document, dict):
            raise self._refused(self.shape) from None
        faults, more = self._faults(document, foreign.repeating(error.__cause__))
        if faults:
            raise self.refusal(*faults, more=more) from None
        last_ones = msgspec.json.encode(document)
        if last_ones == body:
            raise self._refused(detail_of(error)) from None
        return last_ones

    def _parsed(self, body: bytes | bytearray) -> Any:
        try:
            return msgspec.json.decode(body)
        except RecursionError:
            raise self._refused("nested too deeply") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise self._refused(str(fault)) from None

    def _refused(self, detail: str) -> InvalidSubmission:
        return self.refusal(InvalidField(pointer=self.base, detail=detail))

    def _faults(self, values: dict[str, Any], make: Hook) -> tuple[list[InvalidField], int]:
        """Find the faults of an object, field by field; return them, and the number of further ones."""
        faults: list[InvalidField] = []
        given = 0
        for field in self.fields:
            pointer = f"{self.base}/{escape(field.name)}"
            if field.name in values:
                given += 1
                if field.type not in self.not_checked:
                    faults.extend(fault_of(values[field.name], field.type, pointer, make))
            elif field.required:
                faults.append(InvalidField(pointer=pointer, detail=f"missing; this {self.called} is required"))
        unknown = self.unknown
        if unknown is None or given == len(values):
            return faults, 0
        known = {field.name for field in self.fields}
        names = list(islice((name for name in values if name not in known), FAULTS_MAX))
        for name in names:
            faults.append(InvalidField(pointer=f"{self.base}/{escape(name)}", detail=unknown))
            unknown = f"unknown {self.called}"
        return faults, len(values) - given - len(names)


def fault_of(value: Any, expected: Any, pointer: str, make: Hook) -> Iterator[InvalidField]:
    """Yield the fault of a parsed value, if it has one; `make` decodes foreign types."""
    try:
        msgspec.convert(value, expected, str_keys=True, dec_hook=make)
    except MemoryError:
        raise
    except msgspec.ValidationError as fault:
        # No variable but this one, which ends here, may hold an exception: its traceback holds this frame.
        yield from _told(fault, field_of(fault, pointer))
    except (Exception, SystemExit) as fault:  # types have code of their own, and it may raise anything
        yield InvalidField(pointer=pointer, detail=detail_of(fault))


def detail_of(fault: BaseException) -> str:
    """Return the message of an exception of any code."""
    return str(fault) if isinstance(fault, (msgspec.DecodeError, UnicodeDecodeError)) else described(fault)


def _told(fault: msgspec.ValidationError, field: InvalidField) -> Iterable[InvalidField]:
    inside = fault.__cause__
    return _inside(inside, field.pointer) if isinstance(inside, foreign.ModelFaults) else (field,)


def _inside(faults: foreign.ModelFaults, pointer: str) -> Iterator[InvalidField]:
    for steps, detail in faults.faults:
        place = "".join(f"/{escape(str(step))}" for step in steps)
        yield InvalidField(pointer=pointer + place, detail=shown(detail, DETAIL_MAX))
    if (more := faults.count - len(faults.faults)) > 0:
        yield InvalidField(pointer=pointer, detail=f"{more:,} {'more ' if faults.faults else ''}faults")


def field_of(fault: msgspec.ValidationError, base: str = "") -> InvalidField:
    """Turn msgspec's `… - at `$.a[0]`` into a pointer below `base`, and the rest into a detail."""
    detail, _, path = str(fault).partition(" - at `")
    # A name that the message repeats may look like a path, of any length.
    pointer = _pointer_of(path.rstrip("`")) if len(path) <= PATH_MAX else ""
    return InvalidField(pointer=base + pointer, detail=shown(detail, DETAIL_MAX))


def escape(step: str) -> str:
    """Escape one step of a JSON pointer (RFC 6901, section 3); a long one is cut."""
    return shown(step).replace("~", "~0").replace("/", "~1")


@functools.lru_cache(maxsize=256)
def _pointer_of(path: str) -> str:
    steps = path.removeprefix("$").replace("[...]", ".*").replace("[", ".").replace("]", "")
    return "".join(f"/{escape(step)}" for step in steps.split(".") if step)
