"""The build hook of the wheel: compiled where this machine can compile, else pure.

Rules:

1. `JOBQUEUE_BUILD=pure` compiles nothing; `JOBQUEUE_BUILD=compiled` fails where it can't.
2. Without the variable, a wheel that can't be compiled is pure (`py3-none-any`), and one line says why.
3. Extension modules stand beside their sources, which tracebacks show. The wheel's tag names the interpreter.
4. Editable installs are pure: an extension module would hide the edits of its source.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from compiled import PACKAGE, CannotCompile, compile_tree, missing, wanted

_EDITABLE = "editable"


class WheelHook(BuildHookInterface[Any]):
    """Adds the extension modules to the wheel."""

    _tree: Path | None = None

    def dependencies(self) -> list[str]:
        """Return what the build needs beside `build-system.requires`: packages that mypyc reads the types of."""
        core = self.metadata.core
        return (
            core.dependencies + core.optional_dependencies["server"] if wanted() != "pure" and missing() is None else []
        )

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say which form the wheel has. Raises CannotCompile if it has to be compiled, and can't be."""
        form = "pure" if version == _EDITABLE else wanted()
        if form == "pure":
            self.app.display_info(f"{PACKAGE}: pure build")
            return
        try:
            self._compile(build_data)
        except CannotCompile as reason:
            if form == "compiled":
                raise
            self.app.display_warning(f"{PACKAGE}: pure build, since {reason}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the intermediate files."""
        self._clean()

    def _compile(self, build_data: dict[str, Any]) -> None:
        self._tree = tree = Path(tempfile.mkdtemp(prefix=f"{PACKAGE}-"))
        root, ignored = Path(self.root), shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
        try:
            shutil.copytree(root / PACKAGE, tree / PACKAGE, ignore=ignored)
            shutil.copy2(root / "pyproject.toml", tree)
            extensions = compile_tree(tree)
        except BaseException:
            self._clean()
            raise
        build_data["force_include"].update({str(path): str(path.relative_to(tree)) for path in extensions})
        build_data["infer_tag"] = True
        build_data["pure_python"] = False
        self.app.display_info(f"{PACKAGE}: compiled build, {len(extensions)} extension modules")

    def _clean(self) -> None:
        if self._tree is not None:
            shutil.rmtree(self._tree)
            self._tree = None
