"""HTML for the few documents that a browser may show: plain pages, without scripts and styles.

A page is sent under a policy that forbids whatever it doesn't need, which is all.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs

from jobqueue.http.response.reply import COMMON

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HTML_TYPE: Final = "text/html"

HTML: Final = {
    **COMMON,
    "Content-Type": f"{HTML_TYPE}; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}

_CODE: Final = re.compile(r"`([^`]+)`")
_QUALITY: Final = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


def prefers_html(headers: Mapping[str, str]) -> bool:
    """Whether a request's Accept asks for HTML rather than JSON (RFC 9110, section 12.5.1): a browser's does."""
    asked = qualities_in(headers.get(hdrs.ACCEPT, ""))
    json = next((asked[kind] for kind in ("application/json", "application/*", "*/*") if kind in asked), 0.0)
    return asked.get(HTML_TYPE, 0.0) > json


def qualities_in(text: str) -> dict[str, float]:
    """Return what a header of the family of Accept asks for, each with its quality (RFC 9110, section 12.4.2)."""
    asked: dict[str, float] = {}
    for each in text.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        found = next((match for part in parameters if (match := _QUALITY.fullmatch(part))), None)
        asked[name] = 1.0 if found is None else float(found[1])
    return asked


def page(title: str, *parts: str) -> bytes:
    """Return a page: its title, as text, and the HTML of its parts."""
    name = escape(title)
    head = f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{name}</title>\n<h1>{name}</h1>\n'
    return "\n".join((head, *parts)).encode()


def table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; names and cells are HTML."""
    lines = [f"<tr><th>{'<th>'.join(names)}", *(f"<tr><td>{'<td>'.join(cells)}" for cells in rows)]
    return "\n".join(("<table>", *lines, "</table>"))


def text(words: str) -> str:
    """Return text as HTML; what stands between backticks becomes code."""
    return _CODE.sub(r"<code>\1</code>", escape(words))
