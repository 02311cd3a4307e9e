"""The files of a served console, as a browser would come to ask for them."""

from __future__ import annotations

import re
from posixpath import dirname, normpath
from urllib.request import urlopen

LOADED = {"console.css", "console.js", "pages.js", "tools.js", "icon.svg", "vendor/htm-preact.js", "vendor/uplot.js"}
"""What a page loads, at least."""

_IN_PAGE = re.compile(r'(?:href|src)="([^"]+)"')
_IN_MODULE = re.compile(r'(?:from|import\() ?"(\.[^"]+)"')


def files_of_console(url: str) -> set[str]:
    """Read the page of the console and each file that it, or one of these, names; return their names."""
    found, seen = _IN_PAGE.findall(_read(f"{url}/console/")), set[str]()
    while found:
        name = found.pop()
        if name not in seen:
            seen.add(name)
            source = _read(f"{url}/console/{name}")
            if name.endswith(".js"):
                found += [normpath(f"{dirname(name)}/{each}") for each in _IN_MODULE.findall(source)]
    return {name.partition("/")[2] for name in seen}  # without the version


def _read(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text
