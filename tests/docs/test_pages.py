"""The blocks of every page but the guides (`test_how_to`, which runs beside it), run from top to bottom."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from tests.docs.page import BadPage, page, pages
from tests.docs.reader import Reader

HOW_TO = "docs/how-to/"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the pages need curl")


@pytest.mark.parametrize("name", [name for name in pages() if not name.startswith(HOW_TO)])
def test_every_block_of_a_page_is_correct(name: str, tmp_path: Path) -> None:
    with Reader(page(name), tmp_path) as reader:
        reader.follow()


def blocks_not_run() -> list[tuple[str, str]]:
    found = []
    for name in pages():
        with contextlib.suppress(BadPage):  # reported by the test of the page
            found += [(block.place, block.not_run) for block in page(name).blocks if block.not_run]
    return found


@pytest.mark.parametrize(("place", "reason"), blocks_not_run())
def test_a_block_that_is_not_run_is_listed_with_its_reason(place: str, reason: str) -> None:
    pytest.skip(f"{place} is not run: {reason}")
