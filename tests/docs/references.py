"""References in documents: links, anchors, files, folders, make targets, settings and names, and their errors."""

from __future__ import annotations

import pkgutil
import re
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from jobqueue.config import QueueSettings, Settings
from tests.docs.page import ROOT, Page, page

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGERS = {"jobqueue.jobs"}
"""Loggers that are not named after a module."""

MADE = ("tmp/", "mutants/")
"""Folders that are created by running a command."""

SUFFIXES = (".py", ".md", ".yaml", ".json", ".toml", ".lock", ".sh", ".png")
SECTIONS = r"(?:server|statuses|limits|spool|runtime|log|queues\.(?:<name>|default))"
SETTING = re.compile(SECTIONS + r"\.(?!py\b)[a-z_]+(?=$|[:=\s])")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?(?=$|[\s:])|[\w.-]+/(?=$)")


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def bases() -> list[str]:
    """Return the folders at the top and of the package: a path that begins with one is a path here."""
    tops = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"]
    package = [path.name for path in (ROOT / "jobqueue").iterdir() if path.is_dir() and path.name[0] != "_"]
    return sorted({*tops, *package} - {"tmp", "mutants"})


def broken_links(document: Page) -> Iterator[str]:
    """Yield each link to a missing file or heading."""
    for line, target in document.links:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        place = (document.path.parent / path).resolve()
        if path and not place.exists():
            yield f"{document.name}:{line}: no such file: {target}"
        elif fragment and (place.suffix == ".md" or not path):
            other = page(str(place.relative_to(ROOT))) if path else document
            if fragment not in other.anchors:
                yield f"{document.name}:{line}: no such heading: {target}; there are {sorted(other.anchors)}"


def missing_paths(document: Page) -> Iterator[str]:
    """Yield each missing path of this project in backticks."""
    own = {block.file for block in document.blocks if block.file} if document.name != "ARCHITECTURE.md" else set()
    for line, word in document.words:
        found = PATH.match(word)
        if not found or word.startswith(MADE) or found[0] in own:
            continue
        path = found[0].split("::")[0]
        if path.split("/")[0] not in bases() and not path.endswith(SUFFIXES):
            continue
        if not any((base / path).exists() for base in (ROOT, ROOT / "jobqueue", document.path.parent)):
            yield f"{document.name}:{line}: no such path: {path}"


def missing_targets(document: Page) -> Iterator[str]:
    """Yield each `make TARGET` that the Makefile lacks."""
    for line, word in document.words:
        found = re.match(r"make ([a-z][a-z-]*)", word)
        if found and found[1] not in targets():
            yield f"{document.name}:{line}: no such target: make {found[1]}"


def mentioned_documents(text: str) -> Iterator[str]:
    """Yield each document below docs/ that a source names."""
    yield from re.findall(r"(?<![\w/])docs/[\w/-]+\.md\b", text)


@cache
def known_names() -> set[str]:
    """Return the full names of all settings, and of the log events that the reference lists."""
    sections = {field.name: field.type for field in msgspec.structs.fields(Settings) if field.name != "queues"}
    sections["queues.<name>"] = sections["queues.default"] = QueueSettings
    settings = {
        f"{section}.{key}" for section, struct in sections.items() for key in getattr(struct, "__struct_fields__", ())
    }
    return settings | {word for _, word in page("docs/reference/events.md").words}


def unknown_settings(document: Page) -> Iterator[str]:
    """Yield each `section.key` in backticks that is neither a setting nor a log event."""
    for line, word in document.words:
        found = SETTING.match(word)
        if found and found[0] not in known_names():
            yield f"{document.name}:{line}: neither a setting nor a log event: {found[0]}"


def unknown_names(document: Page) -> Iterator[str]:
    """Yield each dotted name of the package in backticks that can't be imported."""
    for line, word in document.words:
        found = re.match(r"jobqueue(?:\.[A-Za-z_]\w*)+(?=$|[(\s:])", word)
        if found and found[0] not in LOGGERS and not is_importable(found[0]):
            yield f"{document.name}:{line}: no such name: {found[0]}"


def is_importable(dotted: str) -> bool:
    """Return whether a dotted name is a module, or a name in one."""
    try:
        pkgutil.resolve_name(dotted)
    except (ImportError, AttributeError):
        return False
    return True
