"""Child processes, found by the text of their command lines."""

from __future__ import annotations

from contextlib import suppress

import psutil


def children_with(text: str, *, of: psutil.Process | None = None, recursive: bool = True) -> list[psutil.Process]:
    """Return the live children of a process with this text in their command line, without zombies.

    Args:
        of: The parent process; by default this one.
        recursive: Include indirect children.
    """
    found = []
    for child in (of or psutil.Process()).children(recursive=recursive):
        with suppress(psutil.NoSuchProcess):  # ended meanwhile, or a zombie
            if text in " ".join(child.cmdline()):
                found.append(child)
    return found
