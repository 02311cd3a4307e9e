"""How this program was built: the form of the package, and the optimisations of its interpreter."""

from __future__ import annotations

import platform
import sysconfig
from types import FunctionType
from typing import Literal

OPTIMISATIONS = {"--enable-optimizations": "PGO", "--with-lto": "LTO"}
"""Options of an interpreter's own build, and what they turn on: profile-guided and link-time optimisation."""


def build() -> Literal["compiled", "pure"]:
    """Return the form of the package: `compiled` by mypyc, or `pure` Python."""
    return "pure" if isinstance(build, FunctionType) else "compiled"


def interpreter() -> str:
    """Return the interpreter, and the optimisations that it was configured with: `CPython 3.13.1 (PGO, LTO)`.

    Debian's has both, by means that it doesn't record.
    """
    configured = str(sysconfig.get_config_var("CONFIG_ARGS"))
    found = ", ".join(name for option, name in OPTIMISATIONS.items() if option in configured)
    return f"{platform.python_implementation()} {platform.python_version()} ({found or 'no PGO or LTO configured'})"
