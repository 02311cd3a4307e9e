"""`python -m tests.packaging.blocked ...` is `jobqueue ...` where the modules of `BLOCKED` can't be imported."""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from types import ModuleType

VARIABLE = "BLOCKED"


class Blocked(MetaPathFinder):
    """Raises what an import of a package that isn't installed raises."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def block(*names: str) -> None:
    sys.meta_path.insert(0, Blocked(names))


if __name__ == "__main__":
    block(*os.environ[VARIABLE].split())
    from jobqueue.__main__ import main

    sys.exit(main())
