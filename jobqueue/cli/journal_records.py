"""The records of a journal as JSON documents: instants in RFC 3339, what may be secret hidden unless asked for.

Rules:

1. A document has the place of its record (file, offset and number of the frame), then the record's own fields.
2. Arguments, results, tracebacks, messages of errors and idempotency keys are given as their sizes. With the handlers
   of a target, arguments are shown as these redact them; arguments of a type that it doesn't have stay hidden.
   Fingerprints of submissions are never shown.
3. A submission names its type and its queue, whichever spec it has.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

from jobqueue.backend.journal.reading import read_log
from jobqueue.backend.journal.records import BadRecord, decode, describe, single
from jobqueue.backend.journal.segment import SEGMENT_BYTES
from jobqueue.backend.journal.snapshot_file import read_snapshot
from jobqueue.cli.remote.output import compact
from jobqueue.errors import ConfigError, JournalDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.backend.journal.reading import Frame
    from jobqueue.handlers.redaction import Redaction

_FAILED = ("attempt", "started_at", "ended_at", "code", "message", "traceback")
_FILE = ("path", "media_type", "size_bytes", "filename")
_PAUSE = ("since", "reason", "until", "by")
_HIDDEN = frozenset({"key", "message", "traceback"})
"""Texts that may hold secrets, beside arguments and results."""

_CONTENT = frozenset({"args", "result", "given"})
"""What is hidden, or shown, as a whole."""

_INSTANTS = frozenset({"at", "since", "until"})


class Shown:
    """What is shown of arguments, results and other fields that may hold secrets.

    Args:
        whole: All of it.
        target: Where to find the handlers that redact arguments; None: arguments are hidden.
    """

    def __init__(self, whole: bool, target: str | None) -> None:
        self.whole = whole
        self._redactions: dict[str, Redaction | None] | None = None if target is None else _redactions_of(target)

    def args(self, args: bytes, job_type: str | None) -> Any:
        """Return arguments; None: they are hidden."""
        if self.whole:
            return _json(args)
        if self._redactions is None or job_type not in self._redactions:
            return None
        redaction = self._redactions[job_type]
        return _json(args if redaction is None else redaction.apply(args))


def write(folder: JournalFolder, shown: Shown, job: str | None, out: IO[str]) -> tuple[int, JournalDamaged | None]:
    """Write the records, or those of one job; return their number, and the damage at which they end, if any."""
    documents, count = _Documents(shown), 0
    try:
        for path, frame in _frames(folder):
            for document in documents.of(frame.body):
                if job is None or _is_about(document, job):
                    place = {"file": path, "offset": frame.offset, "frame": frame.lsn}
                    print(compact(place | document), file=out)
                    count += 1
    except JournalDamaged as damage:
        return count, damage
    except BadRecord as error:
        file = str(folder.path / path)
        return count, JournalDamaged(file, frame.offset, f"frame {frame.lsn} has no valid records: {error}")
    return count, None


def _frames(folder: JournalFolder) -> Iterator[tuple[str, Frame]]:
    snapshot = max(folder.snapshots(), default=0)
    if snapshot:
        for frame in read_snapshot(folder, snapshot):
            yield folder.snapshot_path(snapshot).name, frame
    for frame in read_log(folder, snapshot, segment_bytes=SEGMENT_BYTES):
        yield folder.segment_path(frame.segment).name, frame


class _Documents:
    """Documents of records, which refer to earlier ones: a spec has a number, a job a type."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._specs: dict[Any, dict[str, Any]] = {}
        self._types: dict[str, str] = {}

    def of(self, body: bytes) -> Iterator[dict[str, Any]]:
        for record in single(decode(body)):
            yield self._document(describe(record))

    def _document(self, told: dict[str, Any]) -> dict[str, Any]:
        match told:
            case {"kind": "begin"}:
                self._specs.clear()
            case {"kind": "spec", "number": number, "spec": dict() as spec}:
                self._specs[number] = spec
            case {"kind": "gone", "ids": list() as ids}:
                for job_id in ids:
                    self._types.pop(job_id, None)
            case {"id": str() as job_id, "spec": spec}:
                whole = spec if isinstance(spec, dict) else self._specs.get(spec, {})
                if isinstance(job_type := whole.get("type"), str):
                    self._types[job_id] = job_type
                if not isinstance(spec, dict):
                    told["spec"] = {"type": whole.get("type"), "queue": whole.get("queue")}
        return self._readable(told, self._types.get(str(told.get("id"))))

    def _readable(self, told: dict[str, Any], job_type: str | None) -> dict[str, Any]:
        readable: dict[str, Any] = {}
        for name, value in told.items():
            match name, value:
                case "args", bytes():
                    self._add(readable, name, value, self._shown.args(value, job_type))
                case "result" | "given", bytes():
                    self._add(readable, name, value, _json(value) if self._shown.whole else None)
                case _:
                    readable[name] = _plain(name, value)
        return readable if self._shown.whole else _hidden(readable)

    def _add(self, readable: dict[str, Any], name: str, value: bytes, shown: Any) -> None:
        if shown is None and value != b"null":
            readable[f"{name}_bytes"] = len(value)
        else:
            readable[name] = shown


def _hidden(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with sizes instead of the texts that may hold secrets."""
    hidden: dict[str, Any] = {}
    for name, value in document.items():
        match value:
            case str() if name in _HIDDEN:
                hidden[f"{name}_bytes"] = len(value.encode())
            case dict() if name not in _CONTENT:
                hidden[name] = _hidden(value)
            case list() if name not in _CONTENT:
                hidden[name] = [_hidden(each) if isinstance(each, dict) else each for each in value]
            case _:
                hidden[name] = value
    return hidden


def _failed(fields: list[Any]) -> dict[str, Any]:
    return {name: _plain(name, value) for name, value in zip(_FAILED, fields, strict=False)}


def _plain(name: str, value: Any) -> Any:
    """Return the value of a field without what JSON lacks, and without what is secret."""
    match name, value:
        case _, None:
            return None
        case "starts", list():
            return [_instant(each) for each in value]
        case "file", list():
            return dict(zip(_FILE, value, strict=False))
        case "failed", list():
            return _failed(value)
        case "history", list():
            return [_failed(each) for each in value]
        case "pause", list():
            return {each: _plain(each, of) for each, of in zip(_PAUSE, value, strict=False)}
        case "error", [code, message]:
            return {"code": code, "message": message}
        case "upload", [folder, dict() as files]:
            named = {part: [dict(zip(_FILE, file, strict=False)) for file in each] for part, each in files.items()}
            return {"folder": folder, "files": named}
        case "shared", list():
            return [{"caller": each[0], "key": each[1]} for each in value]
        case _, dict():
            return {each: _plain(each, of) for each, of in value.items() if each != "fingerprint"}
        case _, bytes():
            return f"{len(value)} bytes"
        case _, int() | float() if name in _INSTANTS or name.endswith("_at"):
            return _instant(value)
        case _:
            return value


def _instant(milliseconds: float) -> Any:
    """Return an instant of the wall clock; the number itself, if no calendar has it."""
    try:
        instant = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return milliseconds
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03d}Z"


def _json(value: bytes) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value.decode(errors="backslashreplace")


def _is_about(document: dict[str, Any], job: str) -> bool:
    return document.get("id") == job or job in (document.get("ids") or ())


def _redactions_of(target: str) -> dict[str, Redaction | None]:
    """Return the redaction of each type of a target. Raises ConfigError."""
    from jobqueue.cli.target import BadTarget, find

    try:
        return {handler.name: handler.redaction for handler in find(target).service.registry}
    except BadTarget as error:
        raise ConfigError(f"--target: {error}") from None
