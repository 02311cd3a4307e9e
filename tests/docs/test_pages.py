"""The blocks of every page but the guides (`test_how_to`, which runs beside it), run from top to bottom."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import pytest

from tests.docs.page import ROOT, BadPage, page, pages
from tests.docs.reader import Reader

HOW_TO = "docs/how-to/"
MAY_NOT_RUN = re.compile("not run:|needs=")

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the pages need curl")


@pytest.mark.parametrize("name", [name for name in pages() if not name.startswith(HOW_TO)])
def test_every_block_of_a_page_is_correct(name: str, tmp_path: Path) -> None:
    with Reader(page(name), tmp_path) as reader:
        reader.follow()


def blocks_not_run() -> list[tuple[str, str]]:
    found = []
    # Only these pages are parsed: each process that collects the tests does so.
    for name in filter(lambda name: MAY_NOT_RUN.search((ROOT / name).read_text()), pages()):
        with contextlib.suppress(BadPage):  # reported by the test of the page
            found += [(block.place, block.not_run) for block in page(name).blocks if block.not_run]
    return found


@pytest.mark.parametrize(("place", "reason"), blocks_not_run())
def test_a_block_that_is_not_run_is_listed_with_its_reason(place: str, reason: str) -> None:
    pytest.skip(f"{place} is not run: {reason}")
