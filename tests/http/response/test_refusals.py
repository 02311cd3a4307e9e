"""Refusals written from shared parts equal those of `problem_of`, byte for byte."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue import errors
from jobqueue.errors import Refused
from jobqueue.http.response import problems
from jobqueue.http.response.problems import COUNTERS, TABLE, problem_of, row_of
from jobqueue.http.response.reply import problem_reply, raw_refusal, raw_reply

END = b"Date: now\r\n\r\n"

KINDS = [kind for kind in TABLE if issubclass(kind, Refused)]


class Unlisted(errors.QueueFull):
    """A refusal without a row of its own."""


def test_every_kind_of_refusal_is_compared() -> None:
    assert {errors.QueueFull, errors.RateLimited, errors.Draining, errors.Overloaded} < set(KINDS)


@given(
    st.sampled_from([*KINDS, Unlisted]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.just("x" * 2000),
    st.floats(0.0, 300.0) | st.floats(0.0, 1e9) | st.sampled_from([0.0, 1.0, 1.0005, 2.9995, 300.0]),
)
def test_a_refusal_is_the_same_from_shared_parts(kind: type[Refused], detail: str, wait_s: float) -> None:
    error = kind(detail, retry_after_s=wait_s)
    assert raw_refusal(error, END) == raw_reply(problem_reply(problem_of(error)), END)


def test_a_refusal_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counter[str]()
    monkeypatch.setattr(problems.Counter, "add", lambda counter: counted.update([counter._sample.fields["problem"]]))
    for error in (errors.QueueFull("full", 1.0), errors.Draining()):
        assert row_of(error) in COUNTERS
        raw_refusal(error, END)
    assert counted == {"queue-full": 1, "draining": 1}
