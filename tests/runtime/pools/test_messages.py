"""Messages of a process are validated as untrusted input."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.stored_file import StoredFile
from jobqueue.runtime.pools import messages, questions
from jobqueue.runtime.pools.messages import FAILURE, HEAD, PROGRESS, SUCCESS, Inbox, InvalidMessage
from tests.runtime.pools.blocking import echo
from tests.runtime.pools.calling import call_of

TOKEN = b"a-token!"
CALL = call_of(echo)


def packed(kind: bytes, body: bytes, token: bytes = TOKEN) -> bytes:
    return HEAD.pack(token, len(body), kind) + body


def encoded(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def test_messages_are_reassembled_from_pieces_of_any_size() -> None:
    sent = [(TOKEN, PROGRESS, b"p" * 10), (TOKEN, SUCCESS, b""), (TOKEN, FAILURE, b"f" * 300)]
    stream = b"".join(packed(kind, body) for _, kind, body in sent)
    for size in (1, 7, 13, len(stream)):
        inbox = Inbox()
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [message for piece in pieces for message in inbox.feed(piece, {TOKEN: 1000})] == sent


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"nonsense", "bytes outside of a call"),
        (packed(PROGRESS, b"", b"another!"), "bytes outside of a call"),
        (b"\0" + packed(SUCCESS, b"1"), "bytes outside of a call"),
        (packed(PROGRESS, b"") + b"\0" + packed(PROGRESS, b""), "bytes outside of a call"),
        (HEAD.pack(TOKEN, 2**32 - 1, SUCCESS), "a message of 4294967295 bytes"),
        (HEAD.pack(TOKEN, messages.SMALL_BYTES_MAX + 1, FAILURE), "bytes"),
    ],
)
def test_invalid_bytes_raise_an_error(data: bytes, detail: str) -> None:
    with pytest.raises(InvalidMessage, match=detail):
        list(Inbox().feed(data, {TOKEN: 2**20}))


def test_an_expired_token_raises_an_error() -> None:
    bounds = {TOKEN: 100}
    received = Inbox().feed(packed(SUCCESS, b"1") + packed(SUCCESS, b"2"), bounds)
    assert next(received) == (TOKEN, SUCCESS, b"1")
    del bounds[TOKEN]
    with pytest.raises(InvalidMessage):
        next(received)


@pytest.mark.parametrize(
    ("kind", "body", "detail"),
    [
        (SUCCESS, encoded(Success(b"nonsense")), "not JSON"),
        (SUCCESS, encoded(Success(b'"\xff"')), "not JSON"),
        (SUCCESS, encoded(Success(b"NaN")), "not JSON"),
        (SUCCESS, encoded(Success(b"1 2")), "not JSON"),
        (SUCCESS, encoded(Success(b"[" * 100_000)), "not JSON"),
        (SUCCESS, encoded(Success(b'"%b"' % (b"x" * 1_000_000))), "a result of 1000002 bytes, where 1000000"),
        (SUCCESS, encoded(Success(b"1", StoredFile("/etc/passwd", "text/plain", 1))), "of another attempt"),
        (SUCCESS, encoded(Success(b"1", StoredFile("unused/results/result-3", "x" * 1001, 1))), "of another attempt"),
        (
            SUCCESS,
            encoded(Success(b"1", StoredFile("unused/results/result-3", "text/plain", 1))),
            "missing result file",
        ),
        (SUCCESS, encoded([1, 2, 3]), "an invalid answer"),
        (SUCCESS, b"\xc1", "an invalid answer"),
        (FAILURE, encoded(Failure(ErrorCode.SHUTDOWN, "no")), "the code shutdown"),
        (FAILURE, encoded(Failure(ErrorCode.TIMED_OUT, "no")), "the code timed_out"),
        (FAILURE, encoded({"code": "new", "message": ""}), "an invalid answer"),
        (FAILURE, encoded({"code": "rejected", "message": b"\xff"}), "an invalid answer"),
        (FAILURE, encoded(Failure(ErrorCode.REJECTED, "x" * 2001)), "too long"),
        (FAILURE, encoded(Failure(ErrorCode.REJECTED, "", traceback="x" * 10_001)), "too long"),
        (FAILURE, encoded(Failure(ErrorCode.HANDLER_ERROR, "", retry_after_s=math.nan)), "after nan s"),
        (FAILURE, encoded(Failure(ErrorCode.HANDLER_ERROR, "", retry_after_s=-1)), "after -1.0 s"),
        (FAILURE, encoded(Failure(ErrorCode.HANDLER_ERROR, "", retry_after_s=math.inf)), "after inf s"),
        (b"?", b"", "an unknown kind"),
    ],
)
def test_an_invalid_answer_raises_an_error(kind: bytes, body: bytes, detail: str) -> None:
    with pytest.raises(InvalidMessage, match=detail):
        messages.outcome_of(kind, body, CALL)


@pytest.mark.parametrize(
    "sent_body", [(math.nan, None), (1.5, None), (-0.1, None), (0.5, "x" * 201), ("a", None), (1.0, 2)]
)
def test_an_invalid_progress_raises_an_error(sent_body: object) -> None:
    with pytest.raises(InvalidMessage, match="progress"):
        messages.progress_of(encoded(sent_body))


def test_a_result_file_is_checked_on_disk(tmp_path: Path) -> None:
    call = call_of(echo, folder=tmp_path)
    path = tmp_path / "results" / "result-3"
    path.parent.mkdir()
    path.write_text("four")
    sent_body = encoded(Success(b"1", StoredFile(str(path), "text/plain", 9)))
    assert messages.outcome_of(SUCCESS, sent_body, call) == Success(b"1", StoredFile(str(path), "text/plain", 4))
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(InvalidMessage, match="not a regular file"):
        messages.outcome_of(SUCCESS, sent_body, call)


def test_a_failure_is_truncated_to_pass_in_the_widest_characters() -> None:
    wide = "\N{PILE OF POO}"
    failure = Failure(ErrorCode.HANDLER_ERROR, wide * 9000, traceback=wide * 90_000)
    kind, body = messages.encode_outcome(failure)
    (message,) = Inbox().feed(packed(kind, body), {TOKEN: 0})
    outcome = messages.outcome_of(message[1], message[2], CALL)
    assert isinstance(outcome, Failure)
    assert outcome.message == wide * messages.TEXT_LENGTH_MAX


def test_a_question_may_be_as_long_as_a_childs_arguments_and_no_longer() -> None:
    inbox, token = messages.Inbox(), b"t" * messages.TOKEN_BYTES
    whole = messages.HEAD.pack(token, messages.QUESTION_BYTES_MAX, messages.QUESTION)
    assert list(inbox.feed(whole, {token: 0})) == []
    longer = messages.HEAD.pack(token, messages.QUESTION_BYTES_MAX + 1, messages.QUESTION)
    with pytest.raises(InvalidMessage, match="a message of"):
        list(messages.Inbox().feed(longer, {token: 0}))


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91\xa1x", b"\x82\xa4type\xa6submit\xa5child\x01"])
def test_bytes_of_another_form_are_no_question(body: bytes) -> None:
    with pytest.raises(InvalidMessage, match="an invalid question"):
        questions.question_of(body)
