"""The loads of an outage: the simulated fleet and locust, each as a process, and what its clients have seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import psutil

from bench.load.driving import ROOT, end_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

LOG = "OUTAGE_LOG"
"""The variable with the path of the file into which the users of locust write each answer."""

GRACE_S = 30
LOOK_S = 0.05


class Seen(NamedTuple):
    """What the clients of a load have seen.

    Attributes:
        load: Its name.
        accepted: Jobs that were accepted.
        ended: Of these, the ones that were seen to end; None: users that stop follow none further.
        troubles: By kind: answers that tell nothing of a job, and tries without an answer.
        gap_s: The longest time without an accepted submission, of all its clients together.
        ids: Of the accepted jobs, where the load knows them.
    """

    load: str
    accepted: int
    ended: int | None
    troubles: Mapping[str, int]
    gap_s: float
    ids: frozenset[str] = frozenset()


class Fleet:
    """The simulated clients of `make run-clients`, which follow each job to its end."""

    def __init__(self, url: str, where: str, folder: Path, *, clients: int, seconds: float) -> None:
        self.name = f"fleet, {where}"
        self._report = folder / f"fleet-{url.rpartition(':')[2]}.json"
        command = [sys.executable, "-m", "clients", f"--url={url}", "--type=work", f"--clients={clients}"]
        command += [f"--duration-s={seconds:g}", f"--grace-s={GRACE_S}", "--poll-s=0.25", f"--report={self._report}"]
        self.process = started(command)

    def seen(self) -> Seen:
        """Return what its report tells."""
        report = json.loads(self._report.read_text())
        troubles = Counter(report["errors_by_kind"])
        troubles["no connection"] += report["unreachable"] + report["unreadable"]["gone"]
        troubles["submission: 503, 429"] += report["refused"]
        troubles["submissions of unknown fate"] += report["unknown_fate"]
        moments = [(each["elapsed_s"], each["accepted"]) for each in report["timeline"]]
        return Seen(self.name, report["accepted"], report["ended"], +troubles, longest_halt_s(moments))


class Locust:
    """Users of `locustfile.py`, which repeat what had no answer, under the same key."""

    def __init__(self, url: str, where: str, folder: Path, *, users: int, seconds: float) -> None:
        self.name = f"locust, {where}"
        self._log = folder / f"locust-{url.rpartition(':')[2]}.jsonl"
        command = [sys.executable, "-m", "locust", "--locustfile", str(ROOT / "bench/outage/locustfile.py")]
        command += ["--headless", "--host", url, "--users", str(users), "--spawn-rate", str(users)]
        command += ["--run-time", f"{seconds:g}s", "--stop-timeout", str(GRACE_S), "--loglevel", "ERROR"]
        self.process = started(command, {LOG: str(self._log)})

    def seen(self) -> Seen:
        """Return what its users have written."""
        return seen_by_users(self.name, map(json.loads, self._log.read_text().splitlines()))


def wait_until_begun(process: subprocess.Popen[bytes]) -> None:
    """Return once a load has a connection, or has ended."""
    while process.poll() is None and not _has_connected(process.pid):
        time.sleep(LOOK_S)


def _has_connected(pid: int) -> bool:
    with suppress(psutil.Error):
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]
        return any(wire.status == psutil.CONN_ESTABLISHED for each in family for wire in each.net_connections("tcp"))
    return False


def seen_by_users(name: str, answers: Iterable[Mapping[str, object]]) -> Seen:
    """Return what users have seen, from their answers in order."""
    accepted: dict[str, float] = {}
    troubles: Counter[str] = Counter()
    ended, tried_at = 0, 0.0
    for answer in answers:
        status, kind, at = int(str(answer["status"])), answer["kind"], float(str(answer["at"]))
        tried_at = at if kind == "submit" else tried_at
        if kind == "submit" and status in (200, 202):
            accepted.setdefault(str(answer["id"]), at)
        elif kind == "status" and status == 200:
            ended += 1
        elif status == 0:
            troubles["no connection" if answer["reason"] == "ConnectionRefusedError" else "no answer"] += 1
        elif status in (429, 503):
            troubles[f"{kind}: {status} {answer['reason']}".rstrip()] += 1
        elif status != 202:
            troubles[f"{kind}: {status}"] += 1
    times = [*sorted(accepted.values()), tried_at]
    gap_s = max((later - earlier for earlier, later in pairwise(times)), default=0.0)
    return Seen(name, len(accepted), ended, troubles, gap_s, frozenset(accepted))


def longest_halt_s(moments: Sequence[tuple[float, int]]) -> float:
    """Return the longest time in which a count did not grow, from moments about a second apart."""
    longest = since = 0.0
    last = 0
    for at, count in moments:
        if count != last:
            since, last = at, count
        elif last:
            longest = max(longest, at - since)
    return longest


def started(command: Sequence[str], variables: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a load, which ends with this program."""
    null = subprocess.DEVNULL
    environment = {**os.environ, **(variables or {})}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=null, stderr=null, preexec_fn=end_with_parent)
