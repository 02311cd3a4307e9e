"""PyInstaller's hook for the package: imports of compiled modules, which it can't read, and files of other kinds."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from compiled import LIBRARY, modules

if TYPE_CHECKING:
    from collections.abc import Iterator


def imported(source: str) -> Iterator[str]:
    """Yield the modules that a source imports by an absolute name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


ROOT = Path(__file__).resolve().parents[2]
hiddenimports = sorted({name for path in modules(ROOT) for name in imported((ROOT / path).read_text())})
FOLDERS = (ROOT / "jobqueue" / "http" / "console", ROOT / "jobqueue" / "backend" / "valkey" / "lua")
datas = [
    (str(path), str(path.parent.relative_to(ROOT)))
    for folder in FOLDERS
    for path in folder.rglob("*")
    if path.is_file()
]
if list(ROOT.joinpath(*LIBRARY.split(".")).parent.glob("*__mypyc.*")):
    hiddenimports.append(f"{LIBRARY}__mypyc")
