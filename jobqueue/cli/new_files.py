"""New files of a project: written together, or not at all."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write(files: Mapping[Path, str]) -> None:
    """Write new files, and their folders.

    Raises:
        ConfigError: One of them exists, or can't be written; then none is there that was not before.
    """
    if there := [str(path) for path in files if path.exists() or path.is_symlink()]:
        raise ConfigError(f"{', '.join(there)}: {'exists' if len(there) == 1 else 'exist'} and would be overwritten")
    written: list[Path] = []
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise ConfigError(f"{error.filename}: can't be written: {error.strerror}") from None
