"""The report: a fleet's figures, as a struct for programs and as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from clients.behaviours.base import REFUSALS
from clients.counters import Counters, Counts, Latency
from clients.requirements import Checked, checked
from jobqueue.client import address_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.options import Options

DEFAULT_PORT = 8080
UNMET = 99
"""The exit code of a run that broke a requirement, as in k6."""

ROWS = {  # what the table calls a latency; those split by status code follow their sum
    "request": "any request but waits and streams",
    "submit": "submission",
    "refusal": "rejections of a submission",
    "batch": "batch of submissions",
    "status": "status, from when it was due",
    "status-sent": "status, from its sending",
    "wait": "wait for a job's end",
    "events": "event stream, until it begins",
    "until-accepted": "first try to acceptance",
    "life": "life: accepted submission to seen end",
    "late": "the fleet's own timers: late by",
}


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The counts at a time, all from the start on."""

    elapsed_s: float
    answers: int
    accepted: int
    ended: int
    refused: int
    errors: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of a fleet; `counters.Counts` explains the plain counts.

    Attributes:
        unseen: Jobs that were accepted, but never seen to end.
        rate: Submissions a second, where they were offered in an open loop.
        offered: Submissions that were due: those created, and those that found no connection until the end.
        goodput_per_s: Jobs seen to succeed while more were created, per second of that time.
        requests_per_job: Answered requests of any kind, per job seen to end.
        shutdown: Jobs that were seen to end because the server stopped, and ended them.
        lost: Both by the last live state, to be compared with the server's `drain.lost`.
        ended_by_error: Error code to the jobs that ended, but not in success.
        unreadable: Reads of a status that failed: `up`, while the server was there; `gone`, after it.
        processes_died: Processes of the fleet that ended without their figures; their last message counts.
        cpu_share: The fleet's share of one core.
        latency_ms: By name, and by name and status code.
        invalid_by_reason: Reason to submissions that were rejected permanently.
        with_key: Whether the clients had an API key.
        denial: The answer (401, 403) that denied access, and ended the fleet.
        requirements: Each requirement, and whether it was met.
        timeline: Growth of the counts, once a second or less often.
    """

    url: str
    via: str
    rate: float | None
    clients: int
    jobs: int
    poll_s: float
    disobedient: float
    processes: int
    seed: int
    duration_s: float
    elapsed_s: float
    offered: int
    created: int
    accepted: int
    given_up: int
    unknown_fate: int
    invalid: int
    ended: int
    unseen: int
    refused: int
    errors: int
    shutdown: int
    gone: int
    unreachable: int
    reopened: int
    resumed: int
    unsent: int
    answers: int
    unreadable: dict[str, int]
    lost: dict[str, int]
    ended_by_state: dict[str, int]
    ended_by_error: dict[str, int]
    errors_by_kind: dict[str, int]
    submissions_by_status: dict[str, int]
    statuses_by_status: dict[str, int]
    goodput_per_s: float
    jobs_per_s: float
    requests_per_s: float
    requests_per_job: float | None
    processes_died: int
    cpu_share: float
    latency_ms: dict[str, Latency]
    invalid_by_reason: dict[str, int]
    requirements: tuple[Checked, ...]
    with_key: bool
    denial: str
    timeline: tuple[Moment, ...]

    @property
    def exit_code(self) -> int:
        """0: all is well; 1: no answer or access, jobs not seen to end, rejected submissions; 99: a bound not met."""
        if not self.answers or self.denial or self.unseen or self.invalid or self.processes_died:
            return 1
        return 0 if all(each.met for each in self.requirements) else UNMET

    @property
    def without_server(self) -> bool:
        """Whether no connection could be made from the beginning on: there are no figures then."""
        return not self.answers and not self.errors and self.unreachable > 0

    @property
    def without_figures(self) -> bool:
        """Whether there was no server, or no access to it, from the beginning on."""
        return self.without_server or (bool(self.denial) and not self.accepted)

    @property
    def verdict(self) -> str:
        if self.denial:
            key = "this API key" if self.with_key else "requests without an API key (--key-file, JOBQUEUE_KEY)"
            denial = f"{self.url} denies access to {key}: {self.denial.rstrip('.')}."
            lost = f" {self.unseen:,} jobs were accepted but never seen to end." if self.unseen else ""
            return denial + lost
        if not self.answers:
            if self.without_server:
                return f"No server listens on {self.url}{_start_of(self.url)}."
            return f"No answer from {self.url}."
        died = f"{self.processes_died} of the fleet's processes died. " if self.processes_died else ""
        if self.invalid:
            by_reason = Counter(self.invalid_by_reason).most_common()
            reasons = "; ".join(f"{number:,} by {reason}" for reason, number in by_reason)
            all_of = "Every submission was" if self.invalid == self.created else f"{self.invalid:,} submissions were"
            died += f"{all_of} rejected: {reasons.rstrip('.')}. "
            if not self.accepted:
                return died.rstrip()
        unseen = f"{self.unseen:,} jobs were accepted but never seen to end" if self.unseen else ""
        shutdown = f"{self.shutdown:,} jobs were ended by the server's shutdown" if self.shutdown else ""
        if not unseen and not shutdown:
            return f"{died}Every accepted job was seen to end."
        lost = f"lost by their last state: {_states(self.lost)}"
        return f"{died}{'; '.join(filter(None, (unseen, shutdown, lost)))}."


def report_of(
    options: Options,
    counters: Counters,
    *,
    elapsed_s: float,
    cpu_s: float,
    processes_died: int = 0,
    timeline: tuple[Moment, ...] = (),
) -> Report:
    counts = counters.counts
    names = dict.fromkeys((*ROWS, *counters.latency_names()))
    sums = {"refusal": [f"submit {code}" for code in REFUSALS], "request": ["submit", "batch", "status"]}
    latency_ms = {name: latency for name in names if (latency := counters.latency(*sums.get(name, [name]))) is not None}
    same: dict[str, Any] = {
        **{name: getattr(options, name) for name in _SAME_OPTIONS},
        **{name: getattr(counts, name) for name in _SAME_COUNTS},
    }
    report = Report(
        **same,
        url=address_of(options.url).shown,
        duration_s=options.duration_s,
        elapsed_s=round(elapsed_s, 3),
        offered=counts.created + counts.unsent,
        unseen=counts.accepted - counts.ended,
        shutdown=counters.shutdown.total(),
        unreadable={"up": counts.unreadable_up, "gone": counts.unreadable_gone},
        lost={"delayed": 0, "queued": 0, "running": 0, **(counters.unseen + counters.shutdown)},
        ended_by_state=dict(counters.ended_by_state),
        ended_by_error=dict(counters.ended_by_error),
        errors_by_kind=dict(counters.errors_by_kind),
        submissions_by_status=_by_status("submit", latency_ms),
        statuses_by_status=_by_status("status", latency_ms),
        goodput_per_s=round(counts.good / min(elapsed_s, options.duration_s), 1),
        jobs_per_s=round(counts.ended / elapsed_s, 1),
        requests_per_s=round(counts.answers / elapsed_s, 1),
        requests_per_job=round(counts.answers / counts.ended, 2) if counts.ended else None,
        processes_died=processes_died,
        cpu_share=round(cpu_s / elapsed_s, 3),
        latency_ms=latency_ms,
        invalid_by_reason=dict(counters.invalid_by_reason),
        with_key=bool(options.key),
        denial=counters.denial,
        requirements=(),
        timeline=timeline,
    )
    return msgspec.structs.replace(report, requirements=checked(options.require, msgspec.structs.asdict(report)))


_SAME_OPTIONS = ("via", "rate", "clients", "jobs", "poll_s", "disobedient", "processes", "seed")
_SAME_COUNTS = tuple(
    name for name in Counts.__struct_fields__ if name in Report.__struct_fields__ and name not in ("clients",)
)


def _by_status(kind: str, latency_ms: dict[str, Latency]) -> dict[str, int]:
    split = (name.partition(" ") for name in latency_ms)
    return {code: latency_ms[f"{name} {code}"].count for name, _, code in split if name == kind and code}


def _start_of(url: str) -> str:
    """Return how to start a server that a URL leads to, if that is one of this machine."""
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return ""
    port = parts.port or 80
    arguments = "" if port == DEFAULT_PORT else f' ARGS="--port {port}"'
    return f": start one with make run-server{arguments}, or give the URL of one"


def render(report: Report) -> Group:
    """Draw the report for a terminal, or for a file."""
    if report.without_figures:
        return Group(Text(report.verdict, style="bold"))
    lines = [Text(f"{'met' if each.met else 'NOT MET'}: {each.text} ({each.told})") for each in report.requirements]
    return Group(_figures(report), _latencies(report), *lines, Text(report.verdict, style="bold"))


def _figures(report: Report) -> Table:
    table = Table(box=box.SIMPLE, show_header=False, title="Jobs", title_justify="left")
    table.add_column(justify="right", no_wrap=True)  # so that the words give way where the terminal is narrow
    table.add_column(overflow="fold")
    for number, what in figures_of(report):
        table.add_row(number, Text(what))  # a text, because brackets in it are no markup
    return table


def figures_of(report: Report) -> Iterator[tuple[str, str]]:
    """Yield each plain figure, and what it counts."""
    ended = _states(report.ended_by_state) + _states(report.ended_by_error, "; by error: ")
    per_job = "" if report.requests_per_job is None else f"{report.requests_per_job:.1f} a job, "
    refusals = {code: report.submissions_by_status.get(code, 0) for code in ("429", "503")}
    always = (
        (report.created, f"created by {report.clients:,} {_who(report)} in {report.elapsed_s:.1f} s"),
        (report.accepted, "accepted"),
        (report.ended, f"seen to end: {ended or 'none'}"),
        (report.unseen, "accepted but never seen to end"),
        (report.jobs_per_s, "jobs done per second"),
        (report.goodput_per_s, "of them in success and while more were created"),
        (report.requests_per_s, f"requests per second, {per_job}for {report.cpu_share:.0%} of a core"),
        (report.refused, f"rejections of a submission{_states(refusals, ': ')}"),
        (report.errors, f"errors{_states(report.errors_by_kind, ': ')}"),
    )
    seldom = (  # worth a line only then
        (report.given_up, "never accepted until the fleet stopped creating, and given up"),
        (report.unknown_fate, "of unknown fate: sent, but no answer of the server came"),
        (report.invalid, "rejected"),
        (report.unreadable["up"], "statuses unreadable while the server was up"),
        (report.unreadable["gone"], "statuses unreadable after it had gone"),
        (report.unreachable, "submissions not sent, as no server listened"),
        (report.gone, "statuses dropped by the server (410) before the end was seen"),
        (report.unsent, "due, but not sent: every connection was taken"),
        (report.resumed, "event streams that ended early, and were opened again"),
        (report.reopened, "polls sent again on a new connection, as the idle one was just being closed"),
    )
    for number, what in (*always, *(row for row in seldom if row[0])):
        yield f"{number:,}", what


def _who(report: Report) -> str:
    return "clients" if report.rate is None else f"connections, at {report.rate:,.6g} a second,"


def _latencies(report: Report) -> Table:
    table = Table(box=box.SIMPLE, title="Latencies in ms", title_justify="left", pad_edge=False)
    table.add_column("", overflow="fold")
    for column in ("count", "p50", "p95", "p99", "max"):
        table.add_column(column, justify="right", no_wrap=True)
    for title, latency, split in latencies_of(report):
        figures = (latency.p50, latency.p95, latency.p99, latency.max)
        table.add_row(f"  {title}" if split else title, f"{latency.count:,}", *(millis(figure) for figure in figures))
    return table


def millis(figure: float) -> str:
    """Return milliseconds as they read well: hundredths are of interest below a second only."""
    return f"{figure:,.2f}" if figure < 1000 else f"{figure:,.0f}"


def latencies_of(report: Report) -> Iterator[tuple[str, Latency, bool]]:
    """Yield each latency by its title, and after it those of its status codes (True)."""
    for name, title in ROWS.items():
        if name in report.latency_ms:
            yield title, report.latency_ms[name], False
        for code in sorted(_by_status(name, report.latency_ms)):
            yield code, report.latency_ms[f"{name} {code}"], True


def _states(counter: dict[str, int], lead: str = "") -> str:
    parts = [f"{number:,} {name}" for name, number in Counter(counter).most_common() if number]
    return lead + ", ".join(parts) if parts else ""
