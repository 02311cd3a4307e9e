"""The builds of this program that are measured: its sources as they are, and their copy compiled by mypyc.

A compiled copy of the checkout is made by `make compiled`, and before each bench that `make` runs. A process is of that
build if it runs there, with the copy first on its path. A copy that is older than the sources is not measured: its
figures would be told as today's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from bench.load.driving import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PACKAGE = "jobqueue"
COPIED = (PACKAGE, "bench", "clients")
"""The packages of a bench's processes."""


class Build(StrEnum):
    """A form of the package."""

    PURE = "pure"
    COMPILED = "compiled"

    @property
    def root(self) -> Path:
        """The folder to run in."""
        return ROOT if self is Build.PURE else ROOT / "tmp" / "compiled"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a process needs to import this build, in any folder."""
        return {"PYTHONPATH": str(self.root)}

    @property
    def missing(self) -> str | None:
        """The reason why it can't be measured here; None if it can."""
        if self is Build.PURE:
            return None
        if not any((self.root / PACKAGE).rglob("*.so")):
            return "it is not there: `make compiled` makes it"
        sources = (path for package in COPIED for path in (ROOT / package).rglob("*.py"))
        if any(not _same(path, self.root / path.relative_to(ROOT)) for path in sources):
            return "it is older than the sources: `make compiled` updates it"
        return None


def available(only: Sequence[Build] | None = None) -> tuple[list[Build], list[str]]:
    """Return the builds that can be measured here, and the reasons for those that can't.

    Args:
        only: Those that are asked for; None: all.

    Raises:
        SystemExit: One that is asked for can't be measured; the message says why.
    """
    if only is not None:
        if faults := [f"{build}: {reason}" for build in only if (reason := build.missing) is not None]:
            raise SystemExit(f"{PACKAGE}, {'; '.join(faults)}")
        return list(only), []
    reasons = {build: build.missing for build in Build}
    found = [build for build, reason in reasons.items() if reason is None]
    return found, [f"{PACKAGE}, {build}: {reason}" for build, reason in reasons.items() if reason is not None]


def builds(text: str) -> tuple[Build, ...]:
    """Split at commas. Raises ValueError for another name."""
    return tuple(Build(part.strip()) for part in text.split(","))


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()
