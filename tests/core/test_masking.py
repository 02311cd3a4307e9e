"""Masked messages: the same one for failures that differ in values only."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.masking import ID_FORM, MASKED_LENGTH_MAX, READ_LENGTH_MAX, cost_of, failure_id, id_of, masked

PIECES = st.sampled_from(
    [*"\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb#\u2026-_.:,/+ a1z9\n\0\u202e\ud800\u0663", "ab12", "user", ", "]
)
MESSAGES = st.lists(PIECES, max_size=400).map("".join) | st.text(max_size=600)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("user 17 has 3 mails", "user # has # mails"),
        ("at 0x7f3a2c: timed out after 0.25 s", "at #: timed out after # s"),
        ("job z1w00000040iTK3PkzOeCw is gone", "job # is gone"),
        ("6f9619ff-8b86-d011-b42d-00cf4fc964ff", "#"),
        ("commit 3f9a2c1, digest ab12cd34", "commit #, digest #"),
        ("can't open file 'a b.txt' of \"x\" and `y`", "can't open file '#' of \"#\" and `#`"),
        ("\u201cthis\u201d isn't \u00abthat\u00bb", "\u201c#\u201d isn't \u00ab#\u00bb"),
        ("2026-11-30T03:34:57.123Z 10.0.0.1:8080 [1, 2, 3]", "# # [#]"),
        ("utf8 item-17 user_12 v1.2", "utf# item-# user_# v#"),
        ("a\n  b\tc", "a b c"),
        ("nothing to mask", "nothing to mask"),
        ("", ""),
    ],
)
def test_numbers_ids_and_quoted_texts_are_masked(message: str, expected: str) -> None:
    assert masked(message) == expected


@given(MESSAGES)
def test_a_masked_message_stays_as_it_is(message: str) -> None:
    assert masked(masked(message)) == masked(message)


@given(MESSAGES)
def test_a_masked_message_is_bounded_and_has_no_digit(message: str) -> None:
    assert len(masked(message)) <= MASKED_LENGTH_MAX
    assert not any(map(str.isdecimal, masked(message)))


@given(st.text("abc 'x", max_size=40), st.integers(0, 10**12), st.integers(0, 10**12))
def test_messages_that_differ_in_a_number_have_one_mask(words: str, one: int, other: int) -> None:
    assert masked(f"{words} {one} of {words}") == masked(f"{words} {other} of {words}")


def test_the_rest_of_a_long_message_changes_and_costs_nothing() -> None:
    message = "x y " * (READ_LENGTH_MAX // 4)
    assert masked(message + "'a' 17" * 100_000) == masked(message)
    assert cost_of(message + "z" * 100_000) == cost_of(message)


def test_a_group_is_named_by_type_code_and_masked_message() -> None:
    name = failure_id("mail", "handler_error", "user 17 is gone")
    assert name == failure_id("mail", "handler_error", "user 99999 is gone") == "29384cf602d04f33"
    assert re.fullmatch(ID_FORM, name)
    others = [
        failure_id("post", "handler_error", "user 17 is gone"),
        failure_id("mail", "timed_out", "user 17 is gone"),
        failure_id("mail", "handler_error", "a user is gone"),
        id_of("mailhandler_error", "", "user # is gone"),
    ]
    assert len({name, *others}) == 5


def test_a_message_with_a_lone_surrogate_names_a_group() -> None:
    assert re.fullmatch(ID_FORM, failure_id("t", "handler_error", "\ud800"))
