"""Exceptions of handlers become failures: hostile and nested ones, and invalid delays of retries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobqueue import Reject, Retry
from jobqueue.core.report import ErrorCode
from jobqueue.handlers.result import failure_of
from tests.runtime.pools import hostile

DAY_S = 86_400


def raised(error: BaseException, source: BaseException | None = None) -> BaseException:
    """Raise an exception from another one, and return it as caught."""
    try:
        raise error from source
    except BaseException as caught:
        return caught


def raised_while_handling(error: BaseException, first: BaseException, *, suppress: bool = False) -> BaseException:
    try:
        try:
            raise first
        except BaseException:
            if suppress:
                raise error from None
            raise error  # noqa: B904 - the implicit context is what is tested
    except BaseException as caught:
        return caught


# -- hostile exceptions


@pytest.mark.parametrize("which", hostile.RAISED)
def test_any_hostile_exception_becomes_a_failure_with_text(which: str) -> None:
    failure = failure_of(hostile.RAISED[which](), (LookupError,))
    for text in (failure.message, failure.traceback or ""):
        assert type(text) is str
        text.encode()


@pytest.mark.parametrize("which", ["rate limited", "hostile retry", "retry with a hostile message"])
def test_a_retry_without_readable_attributes_is_a_retry(which: str) -> None:
    failure = failure_of(hostile.RAISED[which]())
    assert (failure.code, failure.final, failure.retry_after_s) == (ErrorCode.HANDLER_ERROR, False, None)


def test_a_reject_without_its_constructor_called_is_a_reject() -> None:
    failure = failure_of(hostile.Forgetful("a thing"))
    assert (failure.code, failure.message, failure.final) == (ErrorCode.REJECTED, "a thing", True)


def test_a_subclass_of_retry_can_set_delay_and_message() -> None:
    class Busy(Retry):
        after_s = 30
        message = "busy"

        def __init__(self) -> None: ...

    failure = failure_of(Busy())
    assert (failure.message, failure.retry_after_s) == ("busy", 30)


# -- delays


@pytest.mark.parametrize(
    ("after_s", "wait_s"),
    [(None, None), (0, 0), (0.5, 0.5), (30 * DAY_S, 30 * DAY_S), (timedelta(hours=1), 3600), (timedelta(0), 0)],
)
def test_a_retry_has_its_delay_in_seconds_or_as_a_timedelta(after_s: Any, wait_s: float | None) -> None:
    failure = failure_of(Retry(after_s))
    assert (failure.retry_after_s, failure.final) == (wait_s, False)


@pytest.mark.parametrize(
    "after_s",
    [
        *(-1, float("nan"), float("inf"), 1e12, 10**400, 30 * DAY_S + 1, timedelta(seconds=-1), timedelta.max),
        *("5", "soon", b"5", [], True, False, 5j),
    ],
)
def test_an_invalid_delay_of_a_retry_is_a_final_handler_error(after_s: Any) -> None:
    failure = failure_of(Retry(after_s, "busy"))
    assert (failure.code, failure.retry_after_s, failure.final) == (ErrorCode.HANDLER_ERROR, None, True)
    assert "the handler asked for a retry after " in failure.message
    assert repr(after_s)[:50] in failure.message


# -- groups and chains


def group(*members: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", members)


@pytest.mark.parametrize(
    "error",
    [
        group(Reject("no")),
        group(ValueError(), group(KeyError(), group(Retry(5), Reject("no")))),
        raised(ValueError("v"), Reject("no")),
        raised(ValueError("v"), raised(KeyError("k"), Reject("no"))),
        raised(ValueError("v"), group(Retry(1), Reject("no"))),
        raised_while_handling(KeyError("k"), Reject("no")),
        group(raised(ValueError("v"), Reject("no"))),
        raised(Reject("no"), Retry(5)),
    ],
    ids=str,
)
def test_a_reject_in_a_group_or_chain_takes_precedence(error: BaseException) -> None:
    failure = failure_of(error)
    assert (failure.code, failure.message, failure.final) == (ErrorCode.REJECTED, "no", True)


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (group(ValueError(), Retry(5)), 5),
        (group(Retry(5), group(Retry(timedelta(hours=1), "longest"), Retry(2))), 3600),
        (group(Retry(), Retry(2)), 2),
        (group(Retry(), ValueError()), None),
        (raised(ValueError("v"), Retry(5)), 5),
        (raised_while_handling(KeyError("k"), Retry(5)), 5),
        (raised(Retry(5), Reject("no")), 5),
    ],
    ids=str,
)
def test_a_retry_in_a_group_or_chain_follows_and_the_longest_delay_counts(
    error: BaseException, wait_s: float | None
) -> None:
    failure = failure_of(error, (LookupError,))
    assert (failure.code, failure.final, failure.retry_after_s) == (ErrorCode.HANDLER_ERROR, False, wait_s)


def test_an_invalid_delay_in_a_group_is_a_final_failure() -> None:
    failure = failure_of(group(Retry(5), Retry(float("nan"))))
    assert (failure.final, "after nan" in failure.message) == (True, True)


def test_a_suppressed_context_does_not_count() -> None:
    failure = failure_of(raised_while_handling(KeyError("k"), Reject("no"), suppress=True))
    assert (failure.code, failure.final) == (ErrorCode.HANDLER_ERROR, False)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionError(), True),
        (ValueError(), False),
        (group(ConnectionError(), ConnectionResetError()), True),
        (group(ConnectionError(), group(ConnectionError())), True),
        (group(ConnectionError(), ValueError()), False),
        (group(ConnectionError(), group(ConnectionError(), ValueError())), False),
        (raised(ValueError("v"), ConnectionError()), True),
        (raised(ValueError("v"), group(ConnectionError(), ValueError())), False),
        (group(raised(ValueError("v"), ConnectionError()), ConnectionError()), True),
        (raised_while_handling(ValueError("v"), ConnectionError()), True),
        (raised_while_handling(ValueError("v"), ConnectionError(), suppress=True), False),
    ],
    ids=str,
)
def test_retry_on_must_match_every_exception_of_a_group(error: BaseException, again: bool) -> None:
    assert failure_of(error, (ConnectionError,)).final is not again


def test_cyclic_chains_and_deeply_nested_groups_are_handled() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert failure_of(first, (LookupError,)).final
    shared: BaseException = ValueError("leaf")
    for _ in range(60):
        shared = group(shared, shared)
    assert failure_of(shared, (ValueError,)).final is False
    deep: BaseException = ConnectionError()
    for _ in range(3000):
        deep = group(deep)
    assert failure_of(deep, (ConnectionError,)).message


def test_the_message_of_a_group_has_its_exceptions() -> None:
    failure = failure_of(group(ValueError("first"), group(KeyError("second"))))
    assert failure.message == "ExceptionGroup: several (2 sub-exceptions); ValueError: first; KeyError: 'second'"
    rejected = failure_of(group(ValueError("first"), Reject("no")))
    assert "ValueError: first" in (rejected.traceback or "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("bad"), ErrorCode.REJECTED),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), ErrorCode.REJECTED),
        (group(ConnectionError("down"), ValueError("bad")), ErrorCode.REJECTED),
        (group(ConnectionError("down"), group(ValueError("bad"))), ErrorCode.REJECTED),
        (KeyError("other"), ErrorCode.HANDLER_ERROR),
        (group(ConnectionError("down"), Retry(3)), ErrorCode.HANDLER_ERROR),
        (group(ValueError("bad"), Retry(3)), ErrorCode.HANDLER_ERROR),
    ],
)
def test_an_exception_in_reject_on_rejects_the_job_unless_a_retry_is_requested(
    error: BaseException, code: ErrorCode
) -> None:
    failure = failure_of(error, None, (ValueError,))
    assert (failure.code, failure.final) == (code, code is ErrorCode.REJECTED)


def test_reject_on_ignores_the_context_of_another_exception() -> None:
    error = ConnectionError("the complaint could not be sent")
    error.__context__ = ValueError("bad")
    assert failure_of(error, None, (ValueError,)).code is ErrorCode.HANDLER_ERROR
