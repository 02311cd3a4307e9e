"""How this program was built: as extension modules or from sources, and on which kind of interpreter."""

from __future__ import annotations

from types import FunctionType
from typing import Literal


def build() -> Literal["compiled", "pure"]:
    """Return the form of the package: `compiled` by mypyc, or `pure` Python."""
    return "pure" if isinstance(build, FunctionType) else "compiled"
