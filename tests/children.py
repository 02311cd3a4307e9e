"""The processes below another one, found by what their command line contains."""

from __future__ import annotations

from contextlib import suppress

import psutil


def children_with(text: str, *, of: psutil.Process | None = None, recursive: bool = True) -> list[psutil.Process]:
    """Return the living children of a process that have this text in their command line.

    One that ends between being listed and being read is none of them, and neither is a zombie.

    Args:
        of: The process; by default this one.
        recursive: Look at the children's children, too.
    """
    found = []
    for child in (of or psutil.Process()).children(recursive=recursive):
        with suppress(psutil.NoSuchProcess):  # a zombie is one, too
            if text in " ".join(child.cmdline()):
                found.append(child)
    return found
