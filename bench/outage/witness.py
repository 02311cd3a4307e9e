"""The witness of an outage: a file outside the servers, with a line for each attempt that began."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

RUNS = "OUTAGE_RUNS"
"""The variable with the path of the file."""


class Attempts(NamedTuple):
    """What has begun.

    Attributes:
        jobs: Jobs of which an attempt began.
        further: Attempts beyond one of each.
        twice: Attempts, each a job and a number, that began more than once.
    """

    jobs: int
    further: int
    twice: int


def opened() -> int:
    """Open the file of the environment, and return its descriptor."""
    return os.open(os.environ[RUNS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def tell(witness: int, job_id: str, attempt: int) -> None:
    """Write down that an attempt begins."""
    # One write of a short line to a file opened with O_APPEND is not mixed with others, and outlives the process.
    os.write(witness, f"{job_id} {attempt}\n".encode())


def attempts_in(path: Path) -> Attempts:
    """Return what a file tells."""
    lines = Counter(path.read_text().splitlines())
    jobs = {line.partition(" ")[0] for line in lines}
    return Attempts(len(jobs), len(lines) - len(jobs), sum(count > 1 for count in lines.values()))
