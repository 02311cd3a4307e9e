"""The fork server: what it has imported before it forks."""

from __future__ import annotations

import jobqueue
from jobqueue.runtime.pools.child import PRELOADED


def test_the_modules_behind_the_names_of_the_package_are_preloaded() -> None:
    homes = {getattr(jobqueue, name).__module__ for name in jobqueue.__all__ if not name.startswith("_")}
    assert homes <= set(PRELOADED)
