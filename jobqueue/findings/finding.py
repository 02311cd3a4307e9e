"""A finding: one thing that is wrong now."""

from __future__ import annotations

from typing import Literal

import msgspec

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
"""The worst first."""

About = Literal["queue", "type", "schedule", "webhook", "server"]

NO_REASON = "The message of its last failure may be that of another key's job."


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong now.

    Attributes:
        kind: For programs.
        sentence: What is wrong.
        cause: Why, as far as it is known.
        remedy: What to do.
        about: What it is about.
        name: That of the queue, the type, the schedule or the receiver of webhooks; None: the server.
        problem: The kind of problem that clients meet because of it; None: they meet none.
        since: On the engine's clock; None: since it was first derived.
        is_open: Whether it is told to keys that don't see all jobs: it says nothing that queues don't tell them.
        open_cause: The cause that is told to them; None: the same.
    """

    kind: str
    severity: Severity
    sentence: str
    cause: str
    remedy: str
    about: About = "server"
    name: str | None = None
    problem: str | None = None
    since: float | None = None
    is_open: bool = False
    open_cause: str | None = None

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        """What makes it the same finding a second later."""
        return self.kind, self.name, self.problem
