"""Tables: by `rich` on a terminal where it is installed (the extra `cli`), as plain text elsewhere."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, NamedTuple

from jobqueue.cli.visible import visible, width_of

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
    "ready": "green",
    "draining": "yellow",
    "paused": "yellow",
}
"""Of words of state; the word itself says the same without colour."""


class Column(NamedTuple):
    """One column.

    Attributes:
        title: Its head.
        read: Returns the text of an item; the table makes it visible and cuts it.
        right: Numbers stand on the right.
        cut: Characters at most.
        keeps: Never narrowed on a terminal, since it is to be copied.
        style: Returns the style of an item's cell; None: by the word in it.
    """

    title: str
    read: Callable[[Any], str]
    right: bool = False
    cut: int = 60
    keeps: bool = False
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


def rich_table(columns: Sequence[Column], items: Iterable[Any], title: str | None = None) -> Table:
    """Return a table of `rich`. Raises ImportError where that is not installed."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False, show_edge=False
    )
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="fold" if column.keeps else "ellipsis",
            min_width=None,
        )
    for item in items:
        cells = []
        for column in columns:
            text = visible(column.read(item), column.cut)
            style = column.style(item) if column.style is not None else STYLES.get(text, "")
            cells.append(Text(text, style=style, no_wrap=True, end=""))
        table.add_row(*cells)
    return table


def console(file: IO[str], *, colour: bool) -> Console | None:
    """Return a console of `rich`; None where it is not installed, or the file is no terminal."""
    if not file.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=file, no_color=not colour or None, highlight=False, markup=False, emoji=False)
