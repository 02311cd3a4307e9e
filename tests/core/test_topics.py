"""Topics and patterns: their grammar, and the index of subscribers beside a matcher that only recurses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.topics import (
    LENGTH_MAX,
    PATTERN_PATTERN,
    TOKENS_MAX,
    TOPIC_PATTERN,
    Pattern,
    TopicIndex,
    pattern_fault,
    topic_fault,
)

TOKENS = st.sampled_from(["a", "b", "c", "order", "A", "-", "_1"])
TOPICS = st.lists(TOKENS, min_size=1, max_size=5).map(".".join)
PATTERNS = st.builds(
    lambda tokens, rest: ".".join([*tokens, ">"] if rest else tokens),
    st.lists(TOKENS | st.just("*"), min_size=1, max_size=4),
    st.booleans(),
) | st.just(">")
TEXTS = st.text(alphabet="ab.*> é/:\n", max_size=12)


def naive_match(pattern: list[str], topic: list[str]) -> bool:
    """Return whether a topic matches, by the definition alone."""
    if not pattern or not topic:
        return pattern == topic
    if pattern[0] == ">":
        return True
    return pattern[0] in ("*", topic[0]) and naive_match(pattern[1:], topic[1:])


@pytest.mark.parametrize("text", ["order", "order.paid", "a.B.c-1._", "a" * LENGTH_MAX, ".".join("a" * TOKENS_MAX)])
def test_tokens_joined_by_dots_are_a_topic_and_a_pattern(text: str) -> None:
    assert topic_fault(text) is None
    assert pattern_fault(text) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has 1 to 200 characters"),
        ("a" * (LENGTH_MAX + 1), "this one has 201"),
        ("order..paid", "token 2 is empty"),
        (".order", "token 1 is empty"),
        ("order.", "token 2 is empty"),
        ("..", "token 1 is empty"),
        ("order paid", "unlike token 1, 'order paid'"),
        ("order/paid", "letters, digits"),
        ("órder", "letters, digits"),
        ("a\n", "letters, digits"),
        (".".join("a" * (TOKENS_MAX + 1)), "at most 16 tokens, and this one has 17"),
    ],
)
def test_a_text_that_is_no_topic_is_rejected_with_the_place_of_its_fault(text: str, told: str) -> None:
    assert told in str(topic_fault(text))
    assert told in str(pattern_fault(text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("order.*", "token 2 is '*', which only patterns have"),
        (">", "token 1 is '>', which only patterns have"),
    ],
)
def test_a_pattern_is_no_topic(text: str, told: str) -> None:
    assert pattern_fault(text) is None
    assert told in str(topic_fault(text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (">.paid", "'>' stands for the rest, so it is the last token, not token 1 of 2"),
        ("order.pa*", "'*' or '>' alone, unlike token 2, 'pa*'"),
        ("order.**", "unlike token 2, '**'"),
        ("order.a>", "unlike token 2"),
    ],
)
def test_a_wildcard_stands_alone_in_its_token(text: str, told: str) -> None:
    assert told in str(pattern_fault(text))


@given(TEXTS | PATTERNS | TOPICS)
def test_the_regular_expressions_say_the_same_as_the_faults(text: str) -> None:
    """They stand in the description of the API, and clients check by them."""
    assert (re.fullmatch(TOPIC_PATTERN[1:-1], text) is not None) == (topic_fault(text) is None)
    assert (re.fullmatch(PATTERN_PATTERN[1:-1], text) is not None) == (pattern_fault(text) is None)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("order.paid", "order.paid", True),
        ("order.paid", "order.paid.late", False),
        ("order.*", "order.paid", True),
        ("order.*", "order", False),
        ("order.*", "order.paid.late", False),
        ("order.>", "order.paid.late", True),
        ("order.>", "order", False),
        ("*.paid", "order.paid", True),
        (">", "order", True),
        ("*.>", "order", False),
    ],
)
def test_a_star_stands_for_one_token_and_an_angle_for_one_or_more(pattern: str, topic: str, expected: bool) -> None:
    assert Pattern(pattern).matches(topic) is expected


@given(PATTERNS, TOPICS)
def test_a_pattern_matches_as_the_naive_matcher(pattern: str, topic: str) -> None:
    assert Pattern(pattern).matches(topic) == naive_match(pattern.split("."), topic.split("."))


@given(st.lists(st.lists(PATTERNS, min_size=1, max_size=4), max_size=8), TOPICS)
def test_the_index_finds_each_subscriber_of_a_topic_once_in_their_order(
    subscribers: list[list[str]], topic: str
) -> None:
    index = TopicIndex[int]()
    for number, patterns in enumerate(subscribers):
        index.add(tuple(map(Pattern, patterns)), number)

    expected = [
        number
        for number, patterns in enumerate(subscribers)
        if any(naive_match(pattern.split("."), topic.split(".")) for pattern in patterns)
    ]
    assert index.of(topic) == expected
