"""The fork server: the modules that it imports before it forks."""

from __future__ import annotations

import jobqueue
from jobqueue.runtime.pools.child import PRELOADED


def test_the_fork_server_preloads_the_modules_of_all_public_names() -> None:
    homes = {getattr(jobqueue, name).__module__ for name in jobqueue.__all__ if not name.startswith("_")}
    assert homes <= set(PRELOADED)
