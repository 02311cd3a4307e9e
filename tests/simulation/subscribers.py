"""The subscribers of a run, as its seed draws them; and which topics they hear, by a naive matcher."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from jobqueue.core.backoff import Backoff

SHARE = 0.3
"""Runs with subscribers."""

TOPICS = ("order.paid", "order.late", "order.paid.late", "user.new")
PATTERNS = ("order.paid", "order.*", "order.>", "*.new", "*.paid.late", ">")

ACTS = ("ok", "ok", "work:0.5", "raise", "raise:0.5", "retry:0.5", "reject", "hang", "publish")
"""What subscribers draw from: each of a topic begins at another act of what is published."""


class Heard(msgspec.Struct):
    """What is published, as the signature of a strict subscriber checks it."""

    n: int
    acts: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberPlan:
    """One handler with patterns.

    Attributes:
        strict: Its signature refuses what `Heard` doesn't fit.
    """

    number: int
    name: str
    patterns: tuple[str, ...]
    strict: bool
    options: dict[str, Any]


def draw_subscribers(seed: int, queues: tuple[str, ...]) -> tuple[SubscriberPlan, ...]:
    """Return the subscribers of a seed, most often none."""
    rng = Random(f"{seed}/subscribers")
    if rng.random() >= SHARE:
        return ()
    return tuple(
        SubscriberPlan(
            number=number,
            name=f"s{number}",
            patterns=tuple(rng.sample(PATTERNS, rng.choice((1, 1, 2)))),
            strict=rng.random() < 0.3,
            options={
                "queue": rng.choice(queues),
                "timeout_s": rng.choice((1.0, 3.0)),
                "attempts_max": rng.choice((1, 2, 4)),
                "backoff": rng.choice((None, Backoff(backoff_s_base=0.5, backoff_s_max=2.0))),
                "concurrency": rng.choice((None, None, 1)),
            },
        )
        for number in range(rng.randint(1, 4))
    )


def hears(patterns: tuple[str, ...], topic: str) -> bool:
    """Return whether a pattern stands for the topic."""
    return any(_matches(pattern.split("."), topic.split(".")) for pattern in patterns)


def _matches(pattern: list[str], topic: list[str]) -> bool:
    if not pattern or not topic:
        return not pattern and not topic
    if pattern == [">"]:
        return True
    return pattern[0] in ("*", topic[0]) and _matches(pattern[1:], topic[1:])
