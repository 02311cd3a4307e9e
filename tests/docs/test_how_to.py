"""The blocks of the how-to guides, run from top to bottom."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.docs.page import page, pages
from tests.docs.reader import Reader

if TYPE_CHECKING:
    from pathlib import Path

HOW_TO = "docs/how-to/"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the pages need curl")


@pytest.mark.parametrize("name", [name for name in pages() if name.startswith(HOW_TO)])
def test_every_block_of_a_guide_is_correct(name: str, tmp_path: Path) -> None:
    with Reader(page(name), tmp_path) as reader:
        reader.follow()


def test_there_are_guides() -> None:
    assert sum(name.startswith(HOW_TO) for name in pages()) > 20
