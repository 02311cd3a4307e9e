"""A page: its code blocks, hidden instructions, links, headings and words in backticks."""

from __future__ import annotations

import re
import shutil
import unicodedata
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from bench.store import executable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markdown_it.token import Token

ROOT = Path(__file__).parent.parent.parent

VERBS = {
    "sh": {"run", "serve", "make"},
    "python": {"run"},
    "text": {"output", "log"},
    "yaml": {"parsed"},
    "json": {"job", "submission", "response"},
    "nginx": set(),
    "caddy": set(),
    "ini": set(),
    "dockerfile": set(),
    "js": set(),
    "go": set(),
}
"""The checks of a language besides its syntax."""

STORE = "valkey-server"
NEEDS_VERB = {"sh", "text"}
"""Languages for which a check of syntax alone says nothing."""


class BadPage(Exception):
    """An error of a page; the message begins with the name of the page and the line."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced code block, or a hidden instruction (`hidden`).

    Attributes:
        line: The line of its opening fence, from 1.
        file: The name of the file in the folder of the page; empty if the block is not written.
        appended: Whether the block is appended to that file.
        not_run: The reason not to run the block; empty to run it.
    """

    page: str
    line: int
    language: str
    verb: str
    file: str
    not_run: str
    text: str
    appended: bool = False
    hidden: bool = False

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def block_of(page: str, line: int, info: str, text: str) -> Block:
    """Parse an info string. Raises BadPage if it names no check."""
    head, _, reason = info.partition("not run:")
    words = head.split()
    language = words[0] if words else ""
    if language not in VERBS:
        known = ", ".join(VERBS)
        raise BadPage(f"{page}:{line}: a block in {language or 'no language'}: tests/docs knows how to check {known}")
    given = dict(word.split("=", 1) for word in words[1:] if word.startswith(("file=", "append=", "needs=")))
    verbs = [word for word in words[1:] if "=" not in word]
    if len(verbs) > 1 or not VERBS[language].issuperset(verbs):
        raise BadPage(f"{page}:{line}: {info!r}: after {language} may stand {sorted(VERBS[language])}")
    program = given.pop("needs", "")
    verb, file = "".join(verbs), "".join(given.values())
    not_run = reason.strip()
    if program and not is_there(program):
        not_run = f"needs {program}"
    if "not run:" in info and not not_run:
        raise BadPage(f"{page}:{line}: not run, without a reason")
    unchecked = language in NEEDS_VERB or language == "python"
    if unchecked and not (verb or file or not_run):
        raise BadPage(f"{page}:{line}: a block that is neither run nor output: say how it is checked (tests/docs)")
    return Block(
        page=page,
        line=line,
        language=language,
        verb=verb,
        file=file,
        not_run=not_run,
        text=text,
        appended="append" in given,
    )


def is_there(program: str) -> bool:
    """Return whether a program is installed; that of a store may be within a package."""
    return shutil.which(program) is not None or (program == STORE and executable() is not None)


class Page:
    """A Markdown document of the project, read once."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text() if text is None else text
        self._tokens: Sequence[Token] = MarkdownIt("commonmark").enable("table").parse(self.text)

    @cached_property
    def blocks(self) -> list[Block]:
        """All blocks and hidden instructions, in their order. Raises BadPage."""
        found = []
        for token in self._tokens:
            line = token.map[0] + 1 if token.map else 0
            if token.type == "fence":
                found.append(block_of(self.name, line, token.info, token.content))
            elif token.type == "code_block":
                raise BadPage(f"{self.name}:{line}: an indented block: fence it, and say how it is checked")
            elif token.type == "html_block":
                found += self._hidden(line, token.content)
        return found

    def _hidden(self, line: int, html: str) -> Iterator[Block]:
        for instruction in re.findall(r"<!--\s*docs:\s*(.*?)\s*-->", html, re.DOTALL):
            head, _, body = instruction.partition("\n")
            words = head.split()
            if words[:1] == ["setup"] and words[1:] in (["python"], ["sh"]):
                hidden = Block(
                    page=self.name,
                    line=line,
                    language=words[1],
                    verb="run",
                    file="",
                    not_run="",
                    text=f"{body}\n",
                    hidden=True,
                )
            elif words in (["stop"], ["in", "checkout"]):
                hidden = Block(
                    page=self.name, line=line, language="", verb=words[0], file="", not_run="", text="", hidden=True
                )
            else:
                raise BadPage(f"{self.name}:{line}: a hidden instruction that tests/docs doesn't know: {head!r}")
            yield hidden

    @property
    def in_checkout(self) -> bool:
        return self.path.parent == ROOT or any(block.verb == "in" for block in self.blocks)

    @cached_property
    def links(self) -> list[tuple[int, str]]:
        """The target of each link and image, with its line."""
        return [
            (line, str(token.attrs.get("href") or token.attrs.get("src")))
            for line, token in self._inline()
            if token.type in ("link_open", "image")
        ]

    @cached_property
    def words(self) -> list[tuple[int, str]]:
        """The code spans, with the lines of their paragraphs."""
        return [(line, token.content) for line, token in self._inline() if token.type == "code_inline"]

    @cached_property
    def anchors(self) -> set[str]:
        """The fragments of the headings, as on GitHub."""
        found: dict[str, int] = {}
        anchors = set()
        for heading, inline in zip(self._tokens, self._tokens[1:], strict=False):
            if heading.type == "heading_open":
                parts = (inner.content for inner in inline.children or () if inner.type in ("text", "code_inline"))
                slug = slug_of("".join(parts))
                anchors.add(f"{slug}-{found[slug]}" if slug in found else slug)
                found[slug] = found.get(slug, 0) + 1
        return anchors

    def _inline(self) -> Iterator[tuple[int, Token]]:
        for token in self._tokens:
            for inner in token.children or ():
                yield (token.map[0] + 1 if token.map else 0), inner


def slug_of(heading: str) -> str:
    """Return a heading's fragment: lower case, letters, digits, `-` and `_` kept, spaces as `-`."""
    kept = (
        character
        for character in heading.strip().lower()
        if character in "-_ " or unicodedata.category(character)[0] in "LNM"
    )
    return "".join(kept).replace(" ", "-")


@cache
def page(name: str) -> Page:
    return Page(ROOT / name)


def pages() -> list[str]:
    """Return the names of the documents with checked blocks."""
    tops = [name for name in ("README.md", "CONTRIBUTING.md") if (ROOT / name).exists()]
    return [*tops, *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))]


def documents() -> list[str]:
    """Return the names of the documents with checked links and names."""
    return [*pages(), "ARCHITECTURE.md", *(["SECURITY.md"] if (ROOT / "SECURITY.md").exists() else [])]
