"""Paths in settings and arguments: `~` is a home folder, as in a shell."""

from __future__ import annotations

from pathlib import Path


def written_path(text: str | Path) -> Path:
    """Return the path of a text. Raises ValueError if its `~` is of no user, or there is no home folder."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{path.parts[0]} is not a home folder") from None
