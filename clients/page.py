"""The report as one HTML page that needs nothing beside itself: verdict, requirements, plots, figures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from clients.plots import latencies_plot, rates_plot
from clients.report import ROWS, figures_of, latencies_of, millis

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clients.report import Report

STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --faint: #667085; --line: #d9dee7; --paper: #fff; --done: #1f6feb;
  --accepted: #7a8699; --refused: #c4610a; --errors: #cf222e; --good: #1a7f37; --bad: #cf222e; --range: #9ec5fe; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --faint: #9aa4b5; --line: #363d4a; --paper: #14181f;
  --done: #58a6ff; --accepted: #8b96a8; --refused: #e3913c; --errors: #ff7b72; --good: #56d364; --bad: #ff7b72;
  --range: #27508a; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
p { margin: .3rem 0; } .faint { color: var(--faint); }
.verdict { font-weight: 600; border-left: 4px solid var(--good); padding: .3rem .8rem; margin: 1rem 0;
  overflow-wrap: anywhere; }
.verdict.bad { border-color: var(--bad); }
.good { color: var(--good); } .bad { color: var(--bad); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; }
tr + tr td { border-top: 1px solid var(--line); }
.split td:first-child { padding-left: 1.4rem; color: var(--faint); }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
.grid { stroke: var(--line); } .tick { fill: var(--faint); } .name { fill: var(--ink); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .label { font-weight: 600; }
.line.ended { stroke: var(--done); } .label.ended { fill: var(--done); }
.line.accepted { stroke: var(--accepted); stroke-dasharray: 5 4; } .label.accepted { fill: var(--accepted); }
.line.refused { stroke: var(--refused); } .label.refused { fill: var(--refused); }
.line.errors { stroke: var(--errors); } .label.errors { fill: var(--errors); }
.range { fill: var(--range); } .reach { stroke: var(--faint); } .p95 { fill: var(--done); } .max { fill: var(--faint); }
"""


def page_of(report: Report) -> str:
    """Return the page. Everything in it that came from outside is escaped."""
    bad = " bad" if report.exit_code else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(report.url)}: the fleet's report</title><style>{STYLE}</style></head><body>
<h1>{escape(report.url)}</h1>
<p class="faint">{escape(_summary(report))}</p>
<p class="verdict{bad}">{escape(report.verdict)}</p>
{_requirements(report)}
{_section("Rates", rates_plot(report.timeline))}
{_section("Latencies", _latency_section(report))}
{_section("Jobs", _table((number, what) for number, what in figures_of(report)))}
</body></html>
"""


def _summary(report: Report) -> str:
    load = f"{report.rate:,.6g} submissions a second over " if report.rate is not None else ""
    clients = f"{report.clients:,} {'connections' if report.rate is not None else 'clients'}"
    return (
        f"{load}{clients} of {report.jobs} jobs each, followed by {report.via}, for {report.duration_s:,.6g} s; "
        f"{report.elapsed_s:,.1f} s in all, seed {report.seed}, {report.processes} "
        f"process{'es' if report.processes > 1 else ''}"
    )


def _requirements(report: Report) -> str:
    if not report.requirements:
        return ""
    rows = [
        f'<tr><td class="{"good" if each.met else "bad"}">{"met" if each.met else "not met"}</td>'
        f'<td>{escape(each.text)}</td><td class="number">{escape(each.told)}</td></tr>'
        for each in report.requirements
    ]
    return f"<h2>Required</h2><table>{''.join(rows)}</table>"


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content}" if content else ""


def _latency_section(report: Report) -> str:
    rows = []
    for title, latency, split in latencies_of(report):
        figures = (latency.p50, latency.p95, latency.p99, latency.max)
        cells = "".join(f'<td class="number">{millis(figure)}</td>' for figure in figures)
        kind = " class=split" if split else ""
        rows.append(f'<tr{kind}><td>{escape(title)}</td><td class="number">{latency.count:,}</td>{cells}</tr>')
    if not rows:
        return ""
    heads = "".join(f'<th class="number">{name}</th>' for name in ("count", "p50", "p95", "p99", "max"))
    return (
        latencies_plot(report, ROWS)
        + '<p class="faint">Bars from p50 to p99, on a logarithmic scale; large dot: p95, small dot: maximum.</p>'
        + f"<table><tr><th>in ms</th>{heads}</tr>{''.join(rows)}</table>"
    )


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f'<tr><td class="number">{escape(number)}</td><td>{escape(what)}</td></tr>' for number, what in rows)
    return f"<table>{''.join(cells)}</table>"
