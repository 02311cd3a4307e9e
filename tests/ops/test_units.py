"""The units of systemd in `docs/ops` are those of the page, which its own test checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("name", ["jobqueue.service", "jobqueue.socket"])
def test_a_unit_is_that_of_the_page(name: str) -> None:
    page = (DOCS / "how-to" / "systemd.md").read_text()
    found = re.search(rf"```ini file={re.escape(name)}\n(.*?)```", page, re.DOTALL)
    assert found is not None
    assert (DOCS / "ops" / name).read_text() == found[1]
