"""Since when findings are there: remembered from one derivation to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobqueue.findings.finding import Finding

KEYS_MAX = 2000

GRACE_S = 10.0
"""A finding that comes back within this time has not been gone."""


class SinceMemory:
    """The beginning of each finding that is there, or was a moment ago; at most `KEYS_MAX`."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str | None, str | None], tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._since)

    def dated(self, findings: Iterable[Finding], now: float) -> Iterator[Finding]:
        """Yield the findings, each with since when it is there."""
        for finding in findings:
            known = self._since.get(finding.key)
            since = finding.since if finding.since is not None else (now if known is None else known[0])
            if known is not None or len(self._since) < KEYS_MAX:
                self._since[finding.key] = since, now
            yield finding if finding.since is not None else replace(finding, since=since)

    def forget(self, now: float) -> None:
        """Forget those that are gone."""
        gone = [key for key, (_, seen_at) in self._since.items() if now - seen_at > GRACE_S]
        for key in gone:
            del self._since[key]
