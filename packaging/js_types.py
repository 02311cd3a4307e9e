"""Makes the types of the JavaScript client: `make js-types`.

Rules:

1. `clients/js/openapi.d.ts`, the documents of the API, is what openapi-typescript makes of the API's description
   (`GET /openapi.json`). `clients/js/jobqueue.d.ts`, the client, is made by TypeScript of the JSDoc in `jobqueue.js`.
2. Both programs are development dependencies of `clients/js/package.json`, and installed into `tmp/js` by `npm ci`,
   which compares each package with the hash in `package-lock.json`. That file names no registry host
   (`omit-lockfile-registry-resolved`): npm asks the configured registry.
3. The first line of `openapi.d.ts` has the digest of the description's structure, so that a test without npm's packages
   can tell whether the types are those of the API.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "clients" / "js"
FOLDER = ROOT / "tmp" / "js"
OF_DOCUMENTS, OF_CLIENT = "openapi.d.ts", "jobqueue.d.ts"
MANIFESTS = ("package.json", "package-lock.json")
HEAD = "// Made by `make js-types` from the API description of the structure {digest}.\n\n"
TEXTS = {"description", "summary", "title", "example", "examples"}
"""Members of the description that tell a compiler nothing."""

STEP_S = 300.0


class CannotMake(Exception):
    """The types can't be made here; the text says why."""


def main() -> int:
    """Write both files of types."""
    try:
        install()
        for name, text in made().items():
            (SOURCE / name).write_text(text)
            print(f"clients/js/{name}: {text.count(chr(10)):,} lines")
    except CannotMake as reason:
        print(f"make js-types: {reason}", file=sys.stderr)
        return 1
    return 0


def missing() -> str:
    """Return the program that is not installed; empty if none is."""
    return next((name for name in ("node", "npm") if shutil.which(name) is None), "")


def is_installed() -> bool:
    """Whether the locked packages are there."""
    stamp = FOLDER / ".locked"
    return stamp.is_file() and stamp.read_text() == _locked()


def install() -> None:
    """Install the locked packages. Raises CannotMake."""
    if name := missing():
        raise CannotMake(f"it needs {name}: install it (Debian: apt-get install nodejs npm)")
    if is_installed():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in MANIFESTS:
        shutil.copy(SOURCE / name, FOLDER)
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved")
    (FOLDER / ".locked").write_text(_locked())


def made() -> dict[str, str]:
    """Return the text of both files, by name. Raises CannotMake."""
    (FOLDER / "openapi.json").write_bytes(described())
    options = ("--empty-objects-unknown", "--default-non-nullable", "false")
    _run("node_modules/.bin/openapi-typescript", "openapi.json", "--output", OF_DOCUMENTS, *options)
    head = HEAD.format(digest=structure_digest())
    documents = head + (FOLDER / OF_DOCUMENTS).read_text()
    (FOLDER / OF_DOCUMENTS).write_text(documents)
    shutil.copy(SOURCE / "jobqueue.js", FOLDER)
    checks = (
        "--allowJs",
        "--checkJs",
        "--strict",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        "--lib",
        "es2022,dom,dom.iterable",
    )
    _run("node_modules/.bin/tsc", "jobqueue.js", "--declaration", "--emitDeclarationOnly", *checks)
    return {OF_DOCUMENTS: documents, OF_CLIENT: (FOLDER / OF_CLIENT).read_text()}


def described() -> bytes:
    """Return the API's description, as a server with the default settings gives it."""
    from jobqueue.config import Settings
    from jobqueue.http.openapi import describe

    return describe(Settings())


def structure_digest() -> str:
    """Return the digest of the description without its texts."""
    structure = json.dumps(_without_texts(json.loads(described())), sort_keys=True)
    return hashlib.sha256(structure.encode()).hexdigest()[:32]


def _without_texts(part: Any, *, names: bool = False) -> Any:
    """Return a part without texts.

    Args:
        names: Its members are named by the API: a member of a document may be called as a text is.
    """
    if isinstance(part, list):
        return [_without_texts(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {name: member for name, member in part.items() if names or name not in TEXTS}
    return {name: _without_texts(member, names=not names and name == "properties") for name, member in kept.items()}


def _locked() -> str:
    return "".join((SOURCE / name).read_text() for name in MANIFESTS)


def _run(*command: str) -> None:
    ran = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=STEP_S)
    if ran.returncode:
        raise CannotMake(f"{command[0]} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
