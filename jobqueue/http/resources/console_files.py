"""The files of the web console, read and compressed once, as they are sent.

Rules:

1. The version is a digest of all files and of the package's version. It is part of the path of each file but the page,
   so a browser may keep them for ever: another version has other paths. In the page, `VERSION/` stands for it,
   and `../` in `mount` for the way from the page to the API.
2. Only files with a suffix in `TYPES` are served, under the names that were read here: no path of a request reaches the
   disk.
3. The page names bundles (`console_bundles`) where its source names modules and style sheets. Those are served beside
   them, as they are: for a debugger, by the source maps, and for readers.
4. Each file is compressed to at most `SMALL_BYTES`, so that answers which no client reads hold no more than others may.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from jobqueue import __version__
from jobqueue.http.resources.console_bundles import ENTRY, SCRIPT, VENDOR, bundles_of, sheet_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

PAGE = "index.html"
PLACEHOLDER = b"VERSION/"
MOUNT = b'name="mount" content="../"'
SHEET = "console.css"

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class File(msgspec.Struct, frozen=True):
    """A file as it is sent.

    Attributes:
        zipped: The same compressed by gzip; None: that would be longer, or no page loads it, as a source or a source
            map.
        opaque_tag: The entity tag as it is compared: with its quotes.
    """

    body: bytes
    zipped: bytes | None
    media_type: str
    opaque_tag: str


class ConsoleFiles(msgspec.Struct, frozen=True):
    """All files.

    Attributes:
        by_name: All but the page, by name, with the folder.
    """

    version: str
    page: File
    by_name: dict[str, File]


@functools.cache
def console_files(depth: int = 1) -> ConsoleFiles:
    """Read, bundle and compress all files: some 250 ms, so it is for a thread.

    Args:
        depth: Folders between the API and the page's files: 2 for the path `/internal/console`.
    """
    root = importlib.resources.files("jobqueue.http").joinpath("console")
    sources = dict(sorted(_contents(root, "")))
    page, sheets = _page(sources.pop(PAGE))
    bundles = {**bundles_of(sources), SHEET: sheet_of(sources, sheets)}
    contents = {**sources, **bundles}
    digest = blake2b(__version__.encode(), digest_size=8)
    for name, content in ((PAGE, page), *contents.items()):
        digest.update(b"%b\0%d\0%b" % (name.encode(), len(content), content))
    version = digest.hexdigest()
    page = page.replace(PLACEHOLDER, f"{version}/".encode())
    page = page.replace(MOUNT, MOUNT.replace(b"../", b"../" * depth))
    modules = {name for name in sources if name.endswith((".js", ".css")) and not name.startswith(VENDOR)}
    unzipped = {*modules, *(name for name in bundles if name.endswith(".map"))}
    files = {name: _file(name, content, zip_it=name not in unzipped) for name, content in contents.items()}
    return ConsoleFiles(version, _file(PAGE, page), files)


def _contents(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _contents(entry, f"{prefix}{entry.name}/")
        elif _suffix(entry.name) in TYPES:
            yield f"{prefix}{entry.name}", entry.read_bytes()


GZIP = 16 + zlib.MAX_WBITS
"""What zlib takes for the form of gzip, with its largest window."""

_SHEETS = re.compile(rb'(?:^[ \t]*<link rel="stylesheet" href="VERSION/([^"]+)">\n)+', re.MULTILINE)
_SHEET = re.compile(rb'"VERSION/([^"]+)"')


def _page(source: bytes) -> tuple[bytes, list[str]]:
    """Return the page with the names of bundles, and the style sheets that it names, in their order."""
    found = _SHEETS.search(source)
    assert found is not None, "the page has style sheets"
    sheets = [name.decode() for name in _SHEET.findall(found[0])]
    page = _SHEETS.sub(b'    <link rel="stylesheet" href="VERSION/%b">\n' % SHEET.encode(), source)
    return page.replace(f"VERSION/{ENTRY}".encode(), f"VERSION/{SCRIPT}".encode()), sheets


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def _gzipped(body: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, GZIP, 9)
    return compressor.compress(body) + compressor.flush()


def _file(name: str, body: bytes, *, zip_it: bool = True) -> File:
    zipped = _gzipped(body) if zip_it else body
    tag = blake2b(body, digest_size=12).hexdigest()
    return File(body, zipped if len(zipped) < len(body) else None, TYPES[_suffix(name)], f'"{tag}"')
