"""The compiled form: extension modules that mypyc makes from the sources of the package, unchanged.

    python packaging/compiled.py tmp/compiled    # a copy of the checkout, with extension modules beside its sources
    python packaging/compiled.py --missing       # what this machine lacks for that; exit code 0: nothing

The modules are listed in `pyproject.toml`, `tool.jobqueue.compiled`. All share one library, so a call from one
to another is a call in C. Nothing is built in the checkout itself: Python prefers an extension module to the source
beside it, so a stale one would hide later edits.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Literal

PACKAGE = "jobqueue"
LIBRARY = f"{PACKAGE}.mypyc_group"
"""The library of all compiled modules; mypyc adds `__mypyc` to its name."""

VARIABLE = "JOBQUEUE_BUILD"
OPTIMISATION = "3"
_BUILD = "build"
_STAMP = f"{_BUILD}/sources.sha256"
_COPIED = f"{_BUILD}/copied"
_HERE = "--here"
_MISSING = "--missing"
_SUFFIXES = (".so", ".pyd")


class CannotCompile(Exception):
    """No compiled form can be made here; the message says why."""


def modules(root: Path) -> list[str]:
    """Return the sources to compile, relative to the root of the project."""
    with (root / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["tool"][PACKAGE]["compiled"])


def wanted() -> Literal["compiled", "pure"] | None:
    """Return the form that `JOBQUEUE_BUILD` asks for; None: compiled, if possible. Raises CannotCompile for others."""
    match os.environ.get(VARIABLE, ""):
        case "":
            return None
        case "compiled" | "pure" as form:
            return form
        case other:
            raise CannotCompile(f"{VARIABLE} is compiled or pure, not {other!r}")


def missing() -> str | None:
    """Return what this machine lacks to compile; None if it lacks nothing."""
    if platform.python_implementation() != "CPython":
        return "CPython (mypyc compiles for no other Python)"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if sys.platform != "win32" and shutil.which(compiler) is None:
        return f"a C compiler ({compiler}; Debian: apt-get install gcc)"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "the headers of Python (Debian: apt-get install python3-dev)"
    return None


def compile_tree(tree: Path) -> list[Path]:
    """Compile the modules of a copy of the project, beside their sources; return the extension modules.

    Args:
        tree: It has `pyproject.toml` and the package. Intermediate files are kept in its folder `build`.

    Raises:
        CannotCompile: Something is missing, or mypyc or the C compiler failed; the message ends with their output.
    """
    if lacking := missing():
        raise CannotCompile(f"{lacking} is missing")
    for needed in ("mypyc", "setuptools"):
        if importlib.util.find_spec(needed) is None:
            raise CannotCompile(f"{needed} is missing: pip install 'mypy[mypyc]'")
    for stale in _extensions(tree):
        stale.unlink()
    # In a process of its own: mypyc works in the current folder, and ends the process at an error.
    command = [sys.executable, str(Path(__file__).resolve()), _HERE]
    done = subprocess.run(command, cwd=tree, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise CannotCompile(f"mypyc or the C compiler failed:\n{done.stdout[-4000:].rstrip()}")
    return _extensions(tree)


def root_of_form(root: Path, tree: Path) -> Path:
    """Return the folder of the form that `JOBQUEUE_BUILD` asks for: `tree`, compiled, or the checkout, which is pure.

    Raises:
        CannotCompile: The compiled form is asked for, and can't be made.
    """
    form = wanted()
    if form == "pure":
        return root
    started = time.monotonic()
    try:
        compiled = make_tree(root, tree)
    except CannotCompile as reason:
        if form == "compiled":
            raise
        print(f"{PACKAGE}: pure build, since {reason}", file=sys.stderr)
        return root
    told = f"compiled in {time.monotonic() - started:.0f} s" if compiled else "up to date"
    print(f"{PACKAGE}: {tree} is {told}", file=sys.stderr)
    return tree


def make_tree(root: Path, tree: Path) -> bool:
    """Make `tree` a copy of the checkout with compiled modules; return whether it had to compile.

    Files of the tree that the checkout no longer has are deleted, so the two differ in extension modules only.

    Raises:
        CannotCompile: As `compile_tree`. The tree has no extension modules then.
    """
    _copy(root, tree)
    stamp, digest = tree / _STAMP, _digest(tree)
    if stamp.is_file() and stamp.read_text() == digest and _extensions(tree):
        return False
    stamp.unlink(missing_ok=True)
    compile_tree(tree)
    stamp.write_text(digest)
    return True


def _compile_here() -> None:
    """Compile the modules of the current folder."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    # The types are checked by `mypy --strict`, with the settings of the project, and not again here: in a
    # build of a wheel the stubs of some requirements are missing.
    options = ["--config-file=", "--ignore-missing-imports", "--no-warn-no-return"]
    extensions = mypycify(
        [*options, *modules(Path())], opt_level=OPTIMISATION, debug_level="0", target_dir=_BUILD, group_name=LIBRARY
    )
    for extension in extensions:
        # A newer C compiler may warn about generated code, which is no reason to fail.
        extension.extra_compile_args = [flag for flag in extension.extra_compile_args if flag != "-Werror"]
    command = build_ext(Distribution({"ext_modules": extensions}))
    command.build_lib, command.build_temp = ".", _BUILD
    command.ensure_finalized()
    command.run()


def _extensions(tree: Path) -> list[Path]:
    return sorted(path for path in (tree / PACKAGE).rglob("*") if path.suffix in _SUFFIXES)


def _copy(root: Path, tree: Path) -> None:
    """Copy what is in the checkout and not ignored by git, and link its virtual environment."""
    names = _files(root)
    for name in names:
        source, target = root / name, tree / name
        if not target.is_file() or _state(source) != _state(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    copied = tree / _COPIED
    for name in {*copied.read_text().splitlines()} - {*names} if copied.is_file() else ():
        (tree / name).unlink(missing_ok=True)
    copied.parent.mkdir(exist_ok=True)
    copied.write_text("\n".join(names))
    venv = tree / ".venv"
    if not venv.is_symlink():
        venv.symlink_to(root / ".venv")


def _files(root: Path) -> list[str]:
    """Return the names of the checkout's files. Raises CannotCompile if git doesn't know them."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(listing, cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        listed = b""
    names = [name for name in os.fsdecode(listed).split("\0") if (root / name).is_file()]
    if "pyproject.toml" not in names:
        raise CannotCompile(f"{root} is not a checkout that git knows")
    return names


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def _digest(tree: Path) -> str:
    """Return a digest of everything that the extension modules are made of."""
    digest = hashlib.sha256(f"{sys.version} {version('mypy')}".encode())
    for path in sorted([*(tree / PACKAGE).rglob("*.py"), tree / "pyproject.toml", tree / "packaging/compiled.py"]):
        digest.update(f"\0{path.relative_to(tree)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def main(arguments: list[str]) -> int:
    """Run as a program: print the folder of the form to build from, or what is missing; return the exit code."""
    if arguments == [_HERE]:
        _compile_here()
        return 0
    if arguments == [_MISSING]:
        lacking = missing()
        print(lacking or "")
        return lacking is not None
    (tree,) = map(Path, arguments)
    try:
        print(root_of_form(Path(__file__).resolve().parents[1], tree.absolute()))
    except CannotCompile as reason:
        print(f"{PACKAGE}: can't compile: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
