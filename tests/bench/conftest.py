"""Fixtures of the benches' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def open_fonts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Draw once before the tests: matplotlib keeps the files of its fonts open from then on."""
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().set_title("A title, and a $-$2")
    path: Path = tmp_path_factory.mktemp("fonts") / "figure.png"
    figure.savefig(path)
