"""The report of a destruction: one HTML file with its plots, and the part of docs/LIMITS.md between its markers."""

from __future__ import annotations

import base64
import subprocess
import sys
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.destructive.plot import draw
from bench.destructive.samples import read
from bench.load.driving import ROOT
from bench.measure.machine import describe
from bench.measure.spread import many, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.destructive.master import Result
    from bench.destructive.verdict import Bound

DESTRUCTION = ("<!-- destruction: written by `make destroy` -->", "<!-- destruction: end -->")
INPUTS = ("<!-- inputs: written by `make destroy` -->", "<!-- inputs: end -->")
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; vertical-align: top }
.kept { color: #177245 } .missed { color: #b00020; font-weight: bold } .faint { color: #666 } img { max-width: 100% }
tr.missed td { background: #fdecef }
"""


def write(results: Sequence[Result], folder: Path, *, quick: bool, seconds: float) -> Path:
    """Draw the plots and write report.html and results.json; return the page's path."""
    sections = [_section(result, folder) for result in results]
    size = "each scenario at a part of its size" if quick else "every scenario at its full size"
    page = folder / "report.html"
    page.write_text(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Destruction</title><style>{STYLE}</style>
</head><body><h1>Destruction</h1>
<p class="faint">{escape(str(describe()))}; {seconds:.0f} s, {size}.</p>
<p class="{"kept" if all(each.kept for each in results) else "missed"}">{escape(summary(results))}</p>
{"".join(sections)}
</body></html>
"""
    )
    (folder / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(list(results)), indent=2) + b"\n")
    return page


def summary(results: Sequence[Result]) -> str:
    """Say in a line or more which bounds were missed."""
    missed = [f"{result.name}: {bound.what}: {bound.seen}" for result in results for bound in _missed(result)]
    failed = [f"{result.name}: {result.failed}" for result in results if result.failed]
    if not missed and not failed:
        return f"All bounds of {many(len(results), 'scenario')} were kept."
    return "\n".join([f"{many(len(missed) + len(failed), 'bound')} missed:", *missed, *failed])


def _missed(result: Result) -> list[Bound]:
    return [bound for bound in result.bounds if bound.missed]


def _section(result: Result, folder: Path) -> str:
    rows = "".join(
        f'<tr class="{"missed" if bound.missed else ""}"><td class="{"missed" if bound.missed else "kept"}">'
        f"{bound.word}</td><td>{escape(bound.what)}</td><td>{escape(bound.wanted)}</td>"
        f"<td>{escape(bound.seen)}</td></tr>"
        for bound in result.bounds
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.notes)
    failed = f'<p class="missed">{escape(result.failed)}</p>' if result.failed else ""
    return (
        f"<h2>{escape(result.name)}</h2><p>{escape(result.says)}</p>"
        f'<p class="faint">{escape(result.confinement)}; {result.seconds:.0f} s</p>{failed}'
        f"<table><tr><th></th><th>bound</th><th>wanted</th><th>seen</th></tr>{rows}</table>"
        f"<ul>{notes}</ul>{_picture(result, folder)}"
    )


def _picture(result: Result, folder: Path) -> str:
    if not result.csv:
        return ""
    try:
        path = folder / f"{result.name}.png"
        draw(read(Path(result.csv)), result.began, result.ended, result.name, path)
    except (OSError, ValueError) as error:
        return f'<p class="missed">no plot: {escape(str(error))}</p>'
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(result.name)} over time" src="data:image/png;base64,{data}">'


def limits_section(results: Sequence[Result]) -> str:
    """Return the published part: the machine, and a row for each scenario and bound."""
    parts = [str(describe()) + "."]
    for result in results:
        rows = [
            (bound.what, bound.wanted, bound.seen, "**missed**" if bound.missed else bound.word)
            for bound in result.bounds
        ]
        parts.append(f"### {result.name}\n\n{_sentence(result.says)} {_sentence(result.confinement)}")
        if result.failed:
            parts.append(f"**It could not be played**: {result.failed.splitlines()[0]}")
        if rows:
            parts.append(table(("bound", "wanted", "seen", ""), rows))
        parts.extend(["\n".join(f"- {note}" for note in result.notes)] if result.notes else [])
    return "\n\n".join(parts)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def render_limits(results: Sequence[Result], page: Path) -> None:
    """Rewrite the parts of the page for inputs and destruction. Raises ValueError if their markers are missing."""
    text = replaced(page.read_text(), DESTRUCTION, limits_section(results))
    page.write_text(replaced(text, INPUTS, inputs_section()))


def inputs_section() -> str:
    """Return the table of bad input, made by the tests."""
    command = [sys.executable, "-m", "tests.http.bad_input.published"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def replaced(text: str, markers: tuple[str, str], part: str) -> str:
    """Replace what stands between two markers. Raises ValueError if one is missing."""
    before, begin, rest = text.partition(markers[0])
    _, end, after = rest.partition(markers[1])
    if not begin or not end:
        raise ValueError(f"the page lacks the markers {' and '.join(markers)}")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"
