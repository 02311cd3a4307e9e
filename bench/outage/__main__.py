"""`python -m bench.outage`: one of two servers over a store is killed under load, and started again; what clients see.

Two ways: half of the clients at the port of each server (`ports`), or all of them at Caddy in front of both (`caddy`).
The clients are the simulated fleet and users of locust. After a third of the time a server is killed with SIGKILL, and
started again once the other one tells that it is lost. Printed: a table of what the clients of each load have seen, and
what became of the jobs. The exit code is 1 if an accepted job was lost, or an attempt began twice.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.outage.loads import GRACE_S, Fleet, Locust, Seen, wait_until_begun
from bench.outage.servers import Member, caddy
from bench.outage.witness import Attempts, attempts_in
from bench.store import NotStarted, Store
from jobqueue.cli.parser import end_with

if TYPE_CHECKING:
    from collections.abc import Sequence

WAYS = ("ports", "caddy")
SETTLE_S = 60.0
LOOK_S = 0.2
COPY_S = 2.0
"""The numbers that a server tells of its store are younger than this."""
NOTICE_S = 8.0
"""How long to wait for the finding; the fleet gives a server up after ten seconds."""


class Outcome(NamedTuple):
    """What a run has shown.

    Attributes:
        lost: Accepted jobs that are not there at the end, or have not succeeded: of all by their number, of those of
            locust one by one.
        states: Of the jobs that the users of locust know, at the end.
        missed: The finding of the other server while one was dead; empty: there was none.
    """

    seen: list[Seen]
    lost: int
    states: Counter[str]
    attempts: Attempts
    missed: str


def measure(way: str, folder: Path, *, clients: int, seconds: float) -> Outcome:
    """Kill a server under load, and return what was seen. Args: clients: Of the fleet; as many users of locust."""
    runs = folder / "runs"
    runs.touch()
    with Store() as store, ExitStack() as stack:
        members = [Member(store.url, runs) for _ in range(2)]
        for member in members:
            stack.callback(member.kill)
            member.start()
        if way == "ports":
            urls = {"the killed server": members[0].url, "the other one": members[1].url}
        else:
            urls = {"Caddy": stack.enter_context(caddy(folder, members))}
        share = clients // len(urls)
        loads: list[Fleet | Locust] = []
        for where, url in urls.items():
            loads += (
                Fleet(url, where, folder, clients=share, seconds=seconds),
                Locust(url, where, folder, users=share, seconds=seconds),
            )
        for load in loads:
            stack.callback(load.process.kill)
        for load in loads:
            wait_until_begun(load.process)
        time.sleep(seconds / 3)
        members[0].kill()
        missed = _finding_of(members[1])
        members[0].start()
        for load in loads:
            load.process.wait(seconds + 2 * GRACE_S)
        _settle(members[1])
        seen = [load.seen() for load in loads]
        states = Counter(members[1].states(sorted(frozenset[str]().union(*(each.ids for each in seen)))))
        held = members[1].ask("/v1/server")["jobs_terminal"]
        lost = max(0, sum(each.accepted for each in seen) - held) + states.total() - states["succeeded"]
        return Outcome(seen, lost, states, attempts_in(runs), missed)


def _finding_of(member: Member) -> str:
    """Return what a server tells of one that was lost, once it does; empty after `NOTICE_S`."""
    until = time.monotonic() + NOTICE_S
    while time.monotonic() < until:
        for each in member.ask("/v1/findings")["findings"]:
            if each["kind"] == "server_missing":
                return str(each["sentence"])
        time.sleep(LOOK_S)
    return ""


def _settle(member: Member) -> None:
    """Return once no job is live, or after `SETTLE_S`."""
    time.sleep(COPY_S)
    until = time.monotonic() + SETTLE_S
    while member.ask("/v1/server")["jobs_live"] and time.monotonic() < until:
        time.sleep(LOOK_S)


def table(outcome: Outcome) -> str:
    """Return what was seen, as Markdown."""
    lines = [
        "| load | accepted | seen to end | longest time without an acceptance | troubles |",
        "|---|--:|--:|--:|---|",
    ]
    for each in outcome.seen:
        troubles = ", ".join(f"{kind} {count:,}" for kind, count in sorted(each.troubles.items())) or "none"
        ended = "" if each.ended is None else f"{each.ended:,}"
        lines.append(f"| {each.load} | {each.accepted:,} | {ended} | {each.gap_s:.1f} s | {troubles} |")
    accepted = sum(each.accepted for each in outcome.seen)
    jobs, further, twice = outcome.attempts
    lines += [
        "",
        f"{accepted:,} jobs accepted, lost {outcome.lost}; {jobs:,} jobs began, {further} once more elsewhere; "
        f"attempts that began twice: {twice}. The other server's finding: {outcome.missed or 'none'}",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.outage", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=WAYS, help="one way")
    parser.add_argument("--clients", type=int, default=100, help="of the fleet, and users of locust (default 100)")
    parser.add_argument("--seconds", type=float, default=45.0, help="of the load (default 45)")
    options = parser.parse_args(arguments)
    bad = 0
    for way in (options.only,) if options.only else WAYS:
        if way == "caddy" and shutil.which("caddy") is None:
            print("caddy is not installed: left out", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcome = measure(way, Path(folder), clients=options.clients, seconds=options.seconds)
            except NotStarted as error:
                parser.error(str(error))
        print(
            f"\n{way}, {options.clients} clients and as many users, {options.seconds:g} s\n\n{table(outcome)}",
            flush=True,
        )
        bad += outcome.lost + outcome.attempts.twice
    return 1 if bad else 0


if __name__ == "__main__":
    end_with(main)
