"""The laws of the console's own files, which need no build step: plain modules that are read as they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.test_prose import PERSON_WORDS_MAX, per_thousand

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2] / "jobqueue/http/console"
LINES_MAX = 300
TEXTS = "strings.js"
"""Has every text, and may be longer."""

MODULES = [path for path in sorted(ROOT.rglob("*.js")) if "vendor" not in path.parts]
SHEETS = sorted((ROOT / "css").glob("*.css"))

_IMPORT = re.compile(r"""(?:\bfrom|\bimport\(|^import)\s*"([^"]+)\"""", re.MULTILINE)
_PATTERN = r"/(?![/*])(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\\[\n])+/"
_TOKEN = re.compile(
    r"""\\.|`|\$\{|[{}]|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|//[^\n]*|/\*(?s:.*?)\*/"""
    rf"|(?<=[(,=:\[!&|?;] ){_PATTERN}|(?<=[(\[!]){_PATTERN}"
)
"""What may begin or end a template, and texts, comments and patterns, in which nothing does."""

_COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'])//[^\n]*", re.DOTALL)
_FORBIDDEN = {
    "innerHTML, which Trusted Types forbid": re.compile(
        r"\b(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write\("
    ),
    "code made of text": re.compile(r"\beval\(|new Function\("),
    "a path from the root, which a mount breaks": re.compile(r"""["'`]/(?:v1|console|problems|livez|readyz)"""),
    "a debugging aid": re.compile(r"\bconsole\.log\(|\bdebugger\b"),
}


def code_of(source: str) -> str:
    """Return a module without its comments."""
    return _COMMENT.sub("", source)


def breaches(source: str) -> Iterator[str]:
    """Yield the laws that a module breaks."""
    if not source.startswith("/** ") and not source.startswith("/**\n"):
        yield "its first line does not say what it is"
    code = code_of(source)
    for what, pattern in _FORBIDDEN.items():
        if pattern.search(code):
            yield what


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_keeps_the_laws(path: Path) -> None:
    source = path.read_text()
    assert list(breaches(source)) == []
    assert path.name == TEXTS or len(source.splitlines()) <= LINES_MAX
    missing = [name for name in _IMPORT.findall(source) if not (path.parent / name).resolve().is_file()]
    assert missing == []


def broken_texts(source: str) -> Iterator[str]:
    """Yield the templates of several lines that are not of `html`: a bundle leaves out the space before their lines."""
    open_at: list[int | None] = []  # the begin of each open template, None for each brace
    at = 0
    while match := _TOKEN.search(source, at):
        token, at = match[0], match.end()
        inside = bool(open_at) and open_at[-1] is not None
        if inside and token not in ("`", "${") and not token.startswith("\\"):
            at = match.start() + 1
        elif token == "`" and inside:
            begin = open_at.pop()
            assert begin is not None
            if "\n" in source[begin:at] and not source[:begin].endswith("html"):
                yield source[begin:at]
        elif token == "`":
            open_at.append(match.start())
        elif token in ("{", "${"):
            open_at.append(None)
        elif token == "}":
            open_at.pop()
    assert open_at == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_text_of_several_lines_is_a_template_of_html(path: Path) -> None:
    assert list(broken_texts(path.read_text())) == []


def test_a_text_of_several_lines_is_found() -> None:
    source = "const a = html`\n  <p>${b ? `one` : `two\n  lines`}</p>`; const c = /`{/; const d = '`';"
    assert list(broken_texts(source)) == ["`two\n  lines`"]


MADE_OF_PARTS = {
    "pages": None,
    "states": None,
    "actions": None,
    "queue": {f"{name}{end}" for name in ("workers", "capacity", "weight", "discipline") for end in ("", "Hint")},
    "webhooks": {"pending", "delivered", "failed", "attempts_failed", "dropped"},
}
"""Sections of texts that are looked up by a name which a module has as a value; None: any of their texts."""


def texts(source: str) -> Iterator[tuple[str, str]]:
    """Yield the section and the name of each text."""
    section = ""
    for line in source.splitlines():
        if opened := re.match(r"  (\w+): \{", line):
            section = opened[1]
        elif text := re.match(r"    (\w+):", line):
            yield section, text[1]


def texts_used(source: str) -> Iterator[tuple[str, str]]:
    """Yield the section and the name of each text that a module has."""
    for alias, section in re.findall(r"^const (\w+) = STRINGS\.(\w+);", source, re.MULTILINE):
        source = re.sub(rf"(?<![\w.]){alias}(?=\.)", f"STRINGS.{section}", source)
    yield from re.findall(r"STRINGS\.(\w+)\.(\w+)", source)
    for names, section in re.findall(r"const \{([\w, ]*)\} = STRINGS\.(\w+);", source):
        yield from ((section, name.strip()) for name in names.split(","))


def unused_texts(source: str, modules: list[str]) -> list[tuple[str, str]]:
    """Return the texts that no module shows."""
    used = {each for module in modules for each in texts_used(module)}
    by_name = {section: names or {name for _, name in texts(source)} for section, names in MADE_OF_PARTS.items()}
    return [each for each in texts(source) if each not in used and each[1] not in by_name.get(each[0], ())]


def test_each_text_is_shown_somewhere() -> None:
    source = (ROOT / TEXTS).read_text()
    modules = [path.read_text() for path in MODULES if path.name != TEXTS]
    assert len(list(texts(source))) > 500
    assert unused_texts(source, modules) == []
    assert unused_texts(f"{source}  more: {{\n    unseen: 1,\n  }},\n", modules) == [("more", "unseen")]


def unused_classes(sheet: str, words: set[str]) -> set[str]:
    """Return the classes that no module names; those of uPlot are its own, and those of lines are made of parts."""
    selectors = re.findall(r"^([^{}@]+)\{", _COMMENT.sub("", sheet), re.MULTILINE)
    names = {name for selector in selectors for name in re.findall(r"\.([a-zA-Z][\w-]*)", selector)}
    return {name for name in names - words if not name.startswith(("u-", "line--"))}


def test_each_style_is_that_of_an_element() -> None:
    sources = [(ROOT / "index.html").read_text(), *(path.read_text() for path in MODULES)]
    words = {word for source in sources for word in re.findall(r"[\w-]+", source)}
    assert {path.name: unused for path in SHEETS if (unused := unused_classes(path.read_text(), words))} == {}
    assert unused_classes(".button .unseen,\n.muted {\n}\n", words) == {"unseen"}


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.name)
def test_a_style_sheet_is_linked_and_opens_with_its_purpose(path: Path) -> None:
    source = path.read_text()
    assert source.startswith("/* ")
    assert len(source.splitlines()) <= LINES_MAX
    assert f'href="VERSION/css/{path.name}"' in (ROOT / "index.html").read_text()


MOTION = re.compile(
    r"\b(?:animation|transition)(?:-\w+)*\s*:|\bscroll-behavior\s*:|@(?:-\w+-)?keyframes|\bbehavior\s*:\s*[\"'`]smooth"
    r"|<animate|\.animate\("
)


@pytest.mark.parametrize("path", [*SHEETS, *MODULES], ids=lambda path: path.name)
def test_nothing_moves(path: Path) -> None:
    assert MOTION.findall(_COMMENT.sub("", path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "  transition: color 1s;\n",
        ".a { transition: color 1s; }",
        ".a { animation-timing-function : ease }",
        ".a { color: red; -webkit-transition: color 1s }",
        "html { scroll-behavior: smooth; }",
        "@keyframes turn {",
        "@-webkit-keyframes turn {",
        'html`<animateTransform attributeName="transform" />`',
        'a.scrollIntoView({behavior: "smooth"})',
        "a.scrollIntoView({behavior: 'smooth'})",
        "a.animate([], 100)",
    ],
)
def test_a_motion_is_found(source: str) -> None:
    assert MOTION.search(source)


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    page = (ROOT / "index.html").read_text()
    assert re.findall(r"<style|style=|\bon[a-z]+=|<script(?![^>]*src=)", page) == []
    files = re.findall(r'(?:href|src)="VERSION/([^"]+)"', page)
    assert len(files) > 5
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_comments_of_the_console_rarely_use_words_for_persons() -> None:
    prose = [comment for path in [*MODULES, *SHEETS] for comment in _COMMENT.findall(path.read_text())]
    assert per_thousand(prose) <= PERSON_WORDS_MAX


@pytest.mark.parametrize(
    "source",
    [
        "import {html} from './ui.js';",
        "/** A page. */\nplace.innerHTML = text;",
        "/** A page. */\nget('/v1/jobs');",
        "/** A page. */\nnew Function('1');",
        "/** A page. */\nconsole.log(1);",
    ],
)
def test_a_breach_is_found(source: str) -> None:
    assert list(breaches(source))


def test_a_comment_breaks_no_law() -> None:
    assert list(breaches("/** A page: no innerHTML. */\n// nor eval()\nconst at = `https://example`;")) == []
