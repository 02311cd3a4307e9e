"""The HTML report: complete, self-contained, with escaped text of the server."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from clients.counters import Counters, Counts
from clients.options import Options
from clients.page import page_of
from clients.plots import rates_of
from clients.report import Moment, Report, report_of
from clients.requirements import requirement
from clients.timeline import MOMENTS_MAX, Timeline

VOID = {"meta"}


class Outline(HTMLParser):
    """Checks that every element is closed, and collects element names and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def moments(*ended: int) -> tuple[Moment, ...]:
    return tuple(
        Moment(elapsed_s=float(n), answers=2 * count, accepted=count, ended=count, refused=0, errors=0)
        for n, count in enumerate(ended, 1)
    )


def report(seen: Counters, **changes: Any) -> Report:
    options = Options(require=(requirement("p95<1ms"), requirement("refused<1%")))
    return report_of(options, seen, elapsed_s=3.0, cpu_s=0.1, timeline=moments(10, 30, 60), **changes)


def some() -> Counters:
    seen = Counters()
    seen.counts.created = seen.counts.accepted = seen.counts.ended = seen.counts.answers = 60
    for millis in range(1, 60):
        seen.time("submit 202", millis / 1000)
        seen.time("life", millis / 10)
    return seen


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    assert found.open == []
    return found


def test_a_page_is_self_contained_with_verdict_requirements_plots_and_figures() -> None:
    page = page_of(report(some()))
    found = outline(page)
    assert found.names.count("svg") == 2
    for part in ("Every accepted job was seen to end.", "not met", "p95<1ms", "created by 500 clients", "jobs done"):
        assert part in found.text
    assert not re.search(r"(src|href)=|url\(|@import|https?://(?!127\.0\.0\.1)", page)


def test_text_of_the_server_is_escaped() -> None:
    seen = some()
    seen.counts.created += 1
    seen.counts.invalid = 1
    seen.rejected_for(422, '<script>alert("x")</script><svg onload=x>')
    seen.error("status: <img src=x>")
    found = outline(page_of(report(seen)))
    assert "<script>" in found.text
    assert not {"script", "img"} & set(found.names)


def test_a_run_without_responses_has_a_page() -> None:
    nothing = report_of(Options(), Counters(), elapsed_s=1.0, cpu_s=0.0)
    assert "No answer from" in outline(page_of(nothing)).text


def test_rates_are_differences_of_moments_and_omit_idle_series() -> None:
    rates = rates_of(moments(10, 30, 60))
    assert rates["ended"] == [(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]
    assert "refused" not in rates


def test_a_timeline_is_bounded_and_covers_the_whole_run() -> None:
    timeline = Timeline()
    for second in range(1, 10_001):
        timeline.add(float(second), Counts(ended=second))
    assert MOMENTS_MAX / 2 <= len(timeline.moments) <= MOMENTS_MAX
    assert timeline.moments[0].elapsed_s < 20
    assert timeline.moments[-1].elapsed_s > 9_980
    assert all(moment.ended == moment.elapsed_s for moment in timeline.moments)
