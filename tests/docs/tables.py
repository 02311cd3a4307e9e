"""Parsing of the tables of a page in Markdown."""

from __future__ import annotations

import re
from pathlib import Path

REFERENCE = Path(__file__).parents[2] / "docs/reference"


def page(name: str) -> str:
    """Return the text of a reference page."""
    return (REFERENCE / name).read_text()


def section(text: str, heading: str) -> str:
    """Return the text below a heading, up to the next one of its level or above. Raises ValueError."""
    level = len(heading) - len(heading.lstrip("#"))
    start = text.index(f"\n{heading}\n") + len(heading) + 2
    end = re.compile(rf"^#{{1,{level}}} ", re.MULTILINE).search(text, start)
    return text[start : end.start() if end else None]


def rows(text: str, *, columns: int | None = None) -> list[list[str]]:
    """Return the cells of every table row, without heads and rules.

    Args:
        columns: Only of tables with this number of columns.
    """
    found: list[list[str]] = []
    lines = text.splitlines()
    for at, line in enumerate(lines):
        is_head = at + 1 < len(lines) and lines[at + 1].startswith("|--")
        if line.startswith("| ") and not is_head:
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if columns is None or len(cells) == columns:
                found.append(cells)
    return found


def codes(cell: str) -> list[str]:
    """Return the code spans."""
    return re.findall(r"`([^`]+)`", cell)


def members(text: str) -> list[str]:
    """Return the names in the first column of the tables."""
    return [name for cells in rows(text) for name in codes(cells[0])]
