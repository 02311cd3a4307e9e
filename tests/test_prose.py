"""The law of prose: the subject of a sentence is a component, so words for persons are rare.

At most `PERSON_WORDS_MAX` of them per 1,000 words, in docstrings and comments, and in the documents. Code blocks, code
in backticks, and released versions in the changelog don't count.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PERSON_WORDS_MAX = 0.5

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_PERSON = re.compile(r"\b(who|whom|whose|whoever|nobody|somebody)\b", re.IGNORECASE)
_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_RELEASED = re.compile(r"^## \[\d+\.\d+\.\d+\] - \d.*", re.MULTILINE | re.DOTALL)


def python_prose(source: str) -> Iterator[str]:
    """Yield the docstrings, those of attributes included, and the comments of a module."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(docstring))):
                yield docstring
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def document_prose(text: str) -> Iterator[str]:
    yield _BLOCK.sub("", _RELEASED.sub("", text))


def per_thousand(prose: list[str]) -> float:
    """Return the words for persons per 1,000 words."""
    plain = [_CODE.sub("", part) for part in prose]
    words = sum(len(_WORD.findall(part)) for part in plain)
    return 1000 * sum(len(_PERSON.findall(part)) for part in plain) / words


@pytest.mark.parametrize("folder", ["jobqueue", "clients", "bench"])
def test_docstrings_and_comments_rarely_use_words_for_persons(folder: str) -> None:
    sources = [path.read_text() for path in sorted((ROOT / folder).rglob("*.py"))]
    assert per_thousand([part for source in sources for part in python_prose(source)]) <= PERSON_WORDS_MAX


def test_documents_rarely_use_words_for_persons() -> None:
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert len(paths) > 20
    assert per_thousand([part for path in paths for part in document_prose(path.read_text())]) <= PERSON_WORDS_MAX


@pytest.mark.parametrize(
    "source",
    [
        '"""Whoever asks is told."""',
        'class A:\n    b: int\n    """Nobody reads it."""',
        "def f():\n    return 1  # whose turn it is",
    ],
)
def test_words_for_persons_in_code_are_counted(source: str) -> None:
    assert per_thousand(list(python_prose(source))) > PERSON_WORDS_MAX


def test_words_for_persons_in_documents_are_counted() -> None:
    assert per_thousand(list(document_prose("# A page\n\nThose who wait."))) > PERSON_WORDS_MAX


def test_code_and_released_versions_are_not_counted() -> None:
    page = (
        "Some `who` here.\n\n```sh\nwho\n```\n\n## [0.1.0] - unreleased\n\nA line.\n\n## [0.0.9] - 2026-01-01\n\nwho\n"
    )
    assert per_thousand(list(document_prose(page))) == 0
    assert per_thousand(list(python_prose('NAME = "who"  # a name'))) == 0
