"""References in documents, and references to documents in sources, exist."""

from __future__ import annotations

import re

import pytest

from tests.docs.page import ROOT, documents, page
from tests.docs.references import (
    broken_links,
    mentioned_documents,
    missing_paths,
    missing_targets,
    unknown_names,
    unknown_settings,
)

SOURCES = sorted(
    path
    for pattern in ("jobqueue/**/*.py", "clients/**/*.py", "bench/**/*.py", "examples/**/*.py", "tests/**/*.py")
    for path in ROOT.glob(pattern)
) + [ROOT / name for name in ("Makefile", "pyproject.toml", "config.yaml", *documents())]


@pytest.mark.parametrize("name", documents())
def test_every_link_and_heading_of_a_document_exists(name: str) -> None:
    assert not list(broken_links(page(name)))


@pytest.mark.parametrize("name", documents())
def test_every_path_in_a_document_exists(name: str) -> None:
    assert not list(missing_paths(page(name)))


@pytest.mark.parametrize("name", documents())
def test_every_make_target_in_a_document_exists(name: str) -> None:
    assert not list(missing_targets(page(name)))


@pytest.mark.parametrize("name", documents())
def test_every_setting_in_a_document_exists(name: str) -> None:
    assert not list(unknown_settings(page(name)))


@pytest.mark.parametrize("name", documents())
def test_every_dotted_name_in_a_document_can_be_imported(name: str) -> None:
    assert not list(unknown_names(page(name)))


def test_every_document_named_in_a_source_exists() -> None:
    missing = [
        f"{path.relative_to(ROOT)} names {named}"
        for path in SOURCES
        if "tests/docs/" not in str(path)
        for named in mentioned_documents(path.read_text())
        if not (ROOT / named).exists()
    ]
    assert not missing


def test_every_page_is_reachable_from_the_readme() -> None:
    reached, left = set(), ["README.md"]
    while left:
        name = left.pop()
        if name in reached or not name.endswith(".md"):
            continue
        reached.add(name)
        for _, target in page(name).links:
            path = (page(name).path.parent / target.partition("#")[0]).resolve()
            if not re.match(r"[a-z]+:", target) and path.is_relative_to(ROOT) and path.is_file():
                left.append(str(path.relative_to(ROOT)))
    assert {name for name in documents() if name.startswith("docs/")} <= reached


def test_the_readme_has_at_most_130_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130
