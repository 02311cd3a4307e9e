"""Topics: names of data, patterns of them, and the subscribers of a topic.

Rules:

1. A topic is tokens joined by dots, `order.paid`; a token has letters, digits, `_` and `-`.
2. A pattern is a topic in which a token may be `*`, which stands for one token; the last one may be `>`, which stands
   for one token or more.
3. A subscriber is found once, however many of its patterns match.

The notation is that of NATS subjects.
"""

from __future__ import annotations

import re
from typing import Final, Generic, TypeVar

LENGTH_MAX: Final = 200
"""Maximum length of a topic or pattern, in characters."""

TOKENS_MAX: Final = 16

ANY_ONE: Final = "*"
ANY_REST: Final = ">"

TOPIC_PATTERN: Final = rf"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){{0,{TOKENS_MAX - 1}}}$"
"""A topic as a regular expression, beside its length."""

PATTERN_PATTERN: Final = rf"^(?:(?:[A-Za-z0-9_-]+|\*)\.){{0,{TOKENS_MAX - 1}}}(?:[A-Za-z0-9_-]+|\*|>)$"
"""A pattern as a regular expression, beside its length."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")

S = TypeVar("S")


def topic_fault(text: str) -> str | None:
    """Return what is wrong with a topic, and what would be right; None: nothing."""
    return _fault(text, "topic", is_pattern=False)


def pattern_fault(text: str) -> str | None:
    """Return what is wrong with a pattern, and what would be right; None: nothing."""
    return _fault(text, "pattern", is_pattern=True)


def _fault(text: str, what: str, *, is_pattern: bool) -> str | None:
    if not 1 <= len(text) <= LENGTH_MAX:
        return f"a {what} has 1 to {LENGTH_MAX} characters, and this one has {len(text)}"
    tokens = text.split(".")
    if len(tokens) > TOKENS_MAX:
        return f"a {what} has at most {TOKENS_MAX} tokens, and this one has {len(tokens)}"
    for number, token in enumerate(tokens, 1):
        if not token:
            return f"a {what} is tokens joined by single dots, such as order.paid: token {number} is empty"
        if token == ANY_REST and is_pattern:
            if number < len(tokens):
                return f"'>' stands for the rest, so it is the last token, not token {number} of {len(tokens)}"
        elif token in (ANY_ONE, ANY_REST):
            if not is_pattern:
                return f"token {number} is {token!r}, which only patterns have: data is published to one topic"
        elif not _TOKEN.fullmatch(token):
            alone = ", or '*' or '>' alone" if is_pattern else ""
            return f"a token has letters, digits, '_' and '-'{alone}, unlike token {number}, {token[:50]!r}"
    return None


class Pattern:
    """A pattern that was found valid."""

    __slots__ = ("_rest", "_tokens", "text")

    def __init__(self, text: str) -> None:
        assert pattern_fault(text) is None, "patterns are checked where they come from"
        self.text = text
        tokens = text.split(".")
        self._rest = tokens[-1] == ANY_REST
        self._tokens = tokens[:-1] if self._rest else tokens

    def matches(self, topic: str) -> bool:
        """Return whether a valid topic matches. Takes a time that grows with the tokens of both."""
        tokens, mine = topic.split("."), self._tokens
        if len(tokens) <= len(mine) if self._rest else len(tokens) != len(mine):
            return False
        return all(want in (ANY_ONE, token) for want, token in zip(mine, tokens, strict=False))


class _Node(Generic[S]):
    """The subscribers of the patterns that begin with the same tokens.

    Attributes:
        below: By their next token, `*` included.
        here: Those of the pattern that ends here.
        rest: Those of the pattern that ends here with `>`.
    """

    __slots__ = ("below", "here", "rest")

    def __init__(self) -> None:
        self.below: dict[str, _Node[S]] = {}
        self.here: list[tuple[int, S]] = []
        self.rest: list[tuple[int, S]] = []


class TopicIndex(Generic[S]):
    """Subscribers by their patterns, as a tree of tokens: one look-up costs the tokens of the topic.

    Where patterns have `*` in many places, a look-up visits up to twice as many nodes with each token, and never more
    than there are.
    """

    def __init__(self) -> None:
        self._root: _Node[S] = _Node()
        self._count = 0

    def add(self, patterns: tuple[Pattern, ...], subscriber: S) -> None:
        """Add a subscriber to the topics that match any of the patterns; it comes after all earlier ones."""
        self._count += 1
        for pattern in dict.fromkeys(each.text for each in patterns):
            tokens = pattern.split(".")
            rest = tokens[-1] == ANY_REST
            node = self._root
            for token in tokens[:-1] if rest else tokens:
                node = node.below.setdefault(token, _Node())
            (node.rest if rest else node.here).append((self._count, subscriber))

    def of(self, topic: str) -> list[S]:
        """Return the subscribers of a valid topic, each once, in the order in which they were added."""
        tokens = topic.split(".")
        found: dict[int, S] = {}
        nodes = [self._root]
        for token in tokens:
            for node in nodes:
                found.update(node.rest)
            nodes = [below for node in nodes for key in (token, ANY_ONE) if (below := node.below.get(key)) is not None]
            if not nodes:
                break
        for node in nodes:
            found.update(node.here)
        return [found[number] for number in sorted(found)]
