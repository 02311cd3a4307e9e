"""Tables: by `rich` on a terminal where it is installed (the extra `cli`), as plain text elsewhere."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, NamedTuple

from jobqueue.cli.terminal.visible import visible, width_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console
    from rich.table import Table

STYLES = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "expired": "yellow",
    "running": "cyan",
    "delayed": "dim",
    "waiting": "dim",
    "ready": "green",
    "draining": "yellow",
    "paused": "yellow",
}
"""Of words of state; the word itself says the same without colour."""

GAP = 3
"""Between two columns of a table of `rich`."""

FLEXIBLE_MIN = 12


class Column(NamedTuple):
    """One column.

    Attributes:
        title: Its head.
        read: Returns the text of an item; the table makes it visible and cuts it.
        right: Numbers stand on the right.
        cut: Characters at most.
        flexible: Narrowed first where the terminal is; other columns are not.
        drop: Order in which columns are left out where they all don't fit, the greatest first; 0: never.
        style: Returns the style of an item's cell; None: by the word in it.
    """

    title: str
    read: Callable[[Any], str]
    right: bool = False
    cut: int = 40
    flexible: bool = False
    drop: int = 0
    style: Callable[[Any], str] | None = None


def plain(columns: Sequence[Column], items: Iterable[Any]) -> Iterable[str]:
    """Yield the lines of a table as plain text."""
    rows = [[visible(column.read(item), column.cut) for column in columns] for item in items]
    titles = [column.title for column in columns]
    widths = [max(map(width_of, cells)) for cells in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = []
        for column, cell, width in zip(columns, row, widths, strict=True):
            gap = " " * (width - width_of(cell))
            cells.append(gap + cell if column.right else cell + gap)
        yield "  ".join(cells).rstrip()


def rich_table(columns: Sequence[Column], items: Sequence[Any], width: int) -> Table:
    """Return a table of `rich` for so many columns of a terminal. Raises ImportError where `rich` is not installed."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    shown = fitting(columns, items, width)
    for column in shown:
        # Of columns that may wrap `rich` takes room first; a cell itself is one line.
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=not column.flexible)
    for item in items:
        cells = []
        for column in shown:
            text = visible(column.read(item), column.cut)
            style = column.style(item) if column.style is not None else STYLES.get(text, "")
            cells.append(Text(text, style=style, no_wrap=True, overflow="ellipsis", end=""))
        table.add_row(*cells)
    return table


def fitting(columns: Sequence[Column], items: Sequence[Any], width: int) -> list[Column]:
    """Return the columns that fit; a flexible one needs `FLEXIBLE_MIN`."""
    shown = list(columns)
    needs = {column: _need(column, items) for column in columns}
    while sum(needs[column] + GAP for column in shown) > width + GAP and any(column.drop for column in shown):
        shown.remove(max(shown, key=lambda column: column.drop))
    return shown


def _need(column: Column, items: Sequence[Any]) -> int:
    widest = max((width_of(visible(column.read(item), column.cut)) for item in items), default=0)
    return max(width_of(column.title), min(widest, FLEXIBLE_MIN) if column.flexible else widest)


def console(file: IO[str], *, colour: bool) -> Console | None:
    """Return a console of `rich`; None where it is not installed, or the file is no terminal."""
    if not file.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=file, no_color=not colour or None, highlight=False, markup=False, emoji=False)
