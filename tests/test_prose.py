"""The laws of prose: the subject of a sentence is a component.

1. Docstrings, comments and documents have at most `PERSON_WORDS_MAX` words for persons per 1,000 words. Code blocks,
   code in backticks, and released versions in the changelog don't count.
2. Names of tests have no words for persons, and no riddles: words that stand for an unnamed thing or number.
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
_IN_NAMES = re.compile(
    r"(?:^test|_)(?:who|whom|whose|whoever|nobody|somebody|someone|anybody|anyone|everybody|everyone"
    r"|what|whatever|as_many|so_many|so_much|so_long|those_that|those_who|(?:is|are|was|were)_told)(?:_|$)"
    r"|^test_(?:it|they|those|then|one_that|ones_that)_"
)
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


def riddles(source: str) -> Iterator[str]:
    """Yield the names of tests that have a word for a person, or a riddle."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name.startswith("test_") and _IN_NAMES.search(name):
                    yield name


@pytest.mark.parametrize("folder", ["jobqueue", "clients", "bench", "tests"])
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


def test_names_of_tests_are_about_components() -> None:
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    assert len(paths) > 100
    assert [f"{path.name}: {name}" for path in paths for name in riddles(path.read_text())] == []


@pytest.mark.parametrize(
    "name",
    [
        "test_a_permit_wakes_nobody",
        "test_whoever_waits_is_served",
        "test_a_job_whose_worker_died_is_retried",
        "test_what_is_not_there_can_not_be_retried",
        "test_a_page_tells_what_it_holds",
        "test_as_many_run_as_there_are_permits",
        "test_the_oldest_of_those_that_failed_is_evicted",
        "test_a_fault_is_told",
        "test_it_is_closed",
    ],
)
def test_a_riddle_in_the_name_of_a_test_is_found(name: str) -> None:
    assert list(riddles(f"class A:\n    async def {name}(self): ...")) == [name]


@pytest.mark.parametrize(
    "name", ["test_a_whole_body_is_read", "test_a_limit_is_kept", "test_a_somewhat_late_job_runs", "whoever_asks"]
)
def test_other_names_are_no_riddles(name: str) -> None:
    assert list(riddles(f"def {name}(): ...")) == []
