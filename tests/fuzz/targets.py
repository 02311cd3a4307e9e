"""Parsers of untrusted bytes, each with what must hold for any bytes."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobqueue.config.load import trace
from jobqueue.core.ids import RUNS, IdIssuer, Origin, is_well_formed
from jobqueue.errors import FAULTS_MAX, ConfigError, InvalidSubmission
from jobqueue.http.errors import MalformedJson, MalformedRequest
from jobqueue.http.request.json_body import (
    DEPTH_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    decode,
    decode_batch,
    decode_one,
    decode_submission,
)
from jobqueue.http.request.multipart import FormReader, Part
from jobqueue.http.resources.bulk import BulkFilter
from jobqueue.http.resources.queues import QueueChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


# -- JSON

DECODERS: tuple[Callable[[bytes], object], ...] = (
    decode_submission,
    decode_one,
    decode_batch,
    lambda body: decode(body, BulkFilter),
    lambda body: decode(body, QueueChange),
)


def json_body(data: bytes) -> None:
    """A decoder raises documented errors alone, and takes a document exactly if it is JSON within the limits."""
    is_json, document = _parsed(data)
    for take in DECODERS:
        fault = fault_of(take, data)
        assert isinstance(fault, MalformedJson) != is_json, fault
        assert len(str(fault)) < 1000
        assert not isinstance(fault, InvalidSubmission) or len(fault.errors) <= FAULTS_MAX
    with contextlib.suppress(MalformedJson, InvalidSubmission):
        submission = decode_submission(data)
        assert json.loads(bytes(submission.args)) == document.get("args", {})


def fault_of(take: Callable[[bytes], object], data: bytes) -> Exception | None:
    """Return the documented error of a decoder; None: it takes the bytes. Others are raised."""
    try:
        take(data)
    except (MalformedJson, InvalidSubmission) as error:
        return error
    return None


class _Beyond(Exception):
    """JSON beyond the limits."""


def _parsed(data: bytes) -> tuple[bool, Any]:
    """Return whether the bytes are JSON within the limits, by the standard library and a plain reading of the rules."""
    try:
        document = json.loads(data.decode(), parse_constant=_beyond, parse_int=_integer, parse_float=_float)
        _check(document, 1)
    except (ValueError, RecursionError, _Beyond):
        return False, None
    return True, document


def _beyond(text: str) -> None:
    raise _Beyond


def _integer(text: str) -> int:
    if len(text) > 20 or not INTEGER_MIN <= int(text) <= INTEGER_MAX:
        raise _Beyond
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _Beyond
    return number


def _check(value: Any, level: int) -> None:
    if isinstance(value, (dict, list)) and level > DEPTH_MAX:
        raise _Beyond
    if isinstance(value, str) and _LONE_SURROGATE.search(value):
        raise _Beyond
    if isinstance(value, dict):
        for name in value:
            _check(name, level)
    if isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            _check(each, level + 1)


# -- ids


_ISSUER = IdIssuer(secret=b"0123456789abcdef", run=RUNS[7])
_ISSUED = {_ISSUER.issue() for _ in range(200)}
_EARLIER = IdIssuer(secret=b"another secret of a run", run=RUNS[6])
_OLDER = [_EARLIER.issue() for _ in range(10)]


def job_id(data: bytes) -> None:
    """An id is this run's exactly if this run has issued it; any other text is judged without an error."""
    text = data.decode("utf-8", "surrogateescape")
    origin = _ISSUER.origin(text)
    assert (origin is Origin.THIS_RUN) == (text in _ISSUED)
    if origin is not Origin.NEVER:
        assert is_well_formed(text)
    if text in _OLDER:
        assert origin is Origin.EARLIER_RUN


# -- forms


class _Pieces:
    """A body that comes in pieces of one size."""

    def __init__(self, data: bytes, size: int) -> None:
        self._pieces = [data[at : at + size] for at in range(0, len(data), size)][::-1]

    async def readany(self) -> bytes:
        return self._pieces.pop() if self._pieces else b""


def multipart(data: bytes) -> None:
    """A form is read, or refused, alike for any split; no part has an empty name."""
    whole = _parts(data, len(data) or 1)
    for size in (1, 3, 64):
        assert _parts(data, size) == whole, f"in pieces of {size}"
    if whole is not None:
        assert all(part.name for part, _ in whole)


def _parts(data: bytes, size: int) -> list[tuple[Part, bytes]] | None:
    async def read() -> list[tuple[Part, bytes]]:
        form = FormReader(_Pieces(data, size), "multipart/form-data; boundary=xyz")  # type: ignore[arg-type]  # reads as a body
        parts = []
        while (part := await form.next_part()) is not None:
            content = b""
            while chunk := await form.read():
                content += chunk
            parts.append((part, content))
        return parts

    reading, fault = read(), None
    try:
        reading.send(None)
    except StopIteration as ended:
        parts: list[tuple[Part, bytes]] = ended.value
        return parts
    except MalformedRequest as error:
        fault = error
    assert fault is not None, "it waits for more than there is"
    assert len(str(fault)) < 1000
    return None


# -- settings


_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")
_FILE = Path(_FOLDER.name) / "config.yaml"
_SHOWN = Path(_FOLDER.name) / "shown.yaml"


def config(data: bytes) -> None:
    """A settings file is loaded, and then shown as one that means the same; or each fault has one line."""
    _FILE.write_bytes(data)
    faults: Sequence[str] | None = None
    try:
        loaded = trace(_FILE, environ={})
    except ConfigError as error:
        faults = error.faults
    if faults is not None:
        assert faults
        assert all(fault.startswith(f"{_FILE}:") and "\n" not in fault for fault in faults)
        return
    _SHOWN.write_text(loaded.show(), encoding="utf-8")
    assert trace(_SHOWN, environ={}).settings == loaded.settings


TARGETS: dict[str, Callable[[bytes], None]] = {
    "json": json_body,
    "ids": job_id,
    "multipart": multipart,
    "config": config,
}


def issued() -> Iterable[str]:
    """Return ids that are this run's, and an earlier run's."""
    return [*sorted(_ISSUED)[:3], *_OLDER[:3]]
