"""The server's JSON as the fleet reads it: of each document the few members that a client acts on."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


class Error(msgspec.Struct, frozen=True):
    code: str


class Fault(msgspec.Struct, frozen=True):
    pointer: str = ""
    detail: str = ""


class Problem(msgspec.Struct, frozen=True):
    """A rejection (RFC 9457); `retry_after_s` is finer than the header's whole seconds."""

    retry_after_s: float | None = None
    title: str = ""
    detail: str = ""
    errors: tuple[Fault, ...] = ()

    @property
    def why(self) -> str:
        """The reason in one line of at most 200 characters."""
        first = f"{self.errors[0].pointer}: {self.errors[0].detail}" if self.errors else self.detail or self.title
        line = " ".join(first[:200].split())
        return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)


class Document(msgspec.Struct, frozen=True):
    """A job's document, or an event's data; in a list also the entry of an unavailable job, with `status` and
    `problem`."""

    id: str = ""
    state: str | None = None
    started_at: str | None = None
    poll_after_ms: int | None = None
    error: Error | None = None
    status: int = 200
    problem: Problem | None = None

    @property
    def why(self) -> str:
        """Why it did not succeed."""
        return self.error.code if self.error is not None else "none"


class Listed(msgspec.Struct, frozen=True):
    jobs: tuple[msgspec.Raw, ...]


class Verdict(msgspec.Struct, frozen=True):
    """The result of one job of a batch: an id, or a problem."""

    status: int
    id: str = ""
    problem: Problem | None = None


class Verdicts(msgspec.Struct, frozen=True):
    jobs: tuple[Verdict, ...]


_DOCUMENT = msgspec.json.Decoder(Document)
_LISTED = msgspec.json.Decoder(Listed)
_PROBLEM = msgspec.json.Decoder(Problem)
_VERDICTS = msgspec.json.Decoder(Verdicts)


def document_of(body: bytes | msgspec.Raw | str) -> Document | None:
    """Read a job's document; None if it is none."""
    return _read(_DOCUMENT, body)


def listed_in(body: bytes) -> tuple[msgspec.Raw, ...] | None:
    """Read a list of documents, each still as its bytes; None if it is none."""
    listed = _read(_LISTED, body)
    return None if listed is None else listed.jobs


def verdicts_in(body: bytes) -> tuple[Verdict, ...] | None:
    """Read the answer to a batch; None if it is none."""
    verdicts = _read(_VERDICTS, body)
    return None if verdicts is None else verdicts.jobs


def problem_of(body: bytes) -> Problem | None:
    """Read a problem document; None if it is none."""
    return _read(_PROBLEM, body)


def _read(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw | str) -> T | None:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
