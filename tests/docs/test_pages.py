"""Every page's blocks, followed from top to bottom as a reader would."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from tests.docs.page import BadPage, page, pages
from tests.docs.reader import Reader

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the pages need curl")


@pytest.mark.parametrize("name", pages())
def test_a_page_keeps_its_word(name: str, tmp_path: Path) -> None:
    with Reader(page(name), tmp_path) as reader:
        reader.follow()


def blocks_not_run() -> list[tuple[str, str]]:
    found = []
    for name in pages():
        with contextlib.suppress(BadPage):  # the page's own test tells it
            found += [(block.place, block.not_run) for block in page(name).blocks if block.not_run]
    return found


@pytest.mark.parametrize(("place", "reason"), blocks_not_run())
def test_a_block_that_is_not_run_says_why(place: str, reason: str) -> None:
    pytest.skip(f"{place} is not run: {reason}")
