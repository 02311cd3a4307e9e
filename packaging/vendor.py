"""Fetches the libraries of the console and of its tests, which are vendored: `make vendor`.

    python packaging/vendor.py            # writes jobqueue/http/console/vendor/ and tests/console/axe/
    python packaging/vendor.py --check    # compares the files there with their manifest; needs no network

Rules:

1. `manifest.json` in each folder names each package with its version and the SHA-512 of its archive, as registries give
   it (`integrity`), and each file with its place in the archive and its SHA-256 here. `npm pack` fetches the archive
   from the configured registry; an archive of another digest is an error, and nothing of its folder is written.
2. Files are copied as they are, but for `append`: it makes a module of the minified uPlot, which is a script.
3. A licence stands beside each library. htm's file contains Preact too, so Preact's licence is one of them.
4. A new version: change it in the manifest, run with `--update`, which writes the new digests, and read the difference.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "jobqueue" / "http" / "console" / "vendor", ROOT / "tests" / "console" / "axe")
MANIFEST = "manifest.json"
PACK_S = 120.0
ARCHIVE_BYTES_MAX = 8 << 20


class CannotVendor(Exception):
    """The files can't be fetched, or aren't those of the manifest; the text says why."""


def main(argv: list[str]) -> int:
    """Fetch the files, or check those that are there."""
    parser = argparse.ArgumentParser(description="Fetches the vendored libraries of the console.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="compare the files with the manifest")
    mode.add_argument("--update", action="store_true", help="write the digests of what was fetched into the manifest")
    options = parser.parse_args(argv)
    try:
        for folder in FOLDERS:
            if options.check:
                check(folder)
            else:
                write(folder, options.update)
    except CannotVendor as reason:
        print(f"make vendor: {reason}", file=sys.stderr)
        return 1
    return 0


def write(folder: Path, update: bool) -> None:
    """Fetch all files of a folder, then write them. Raises CannotVendor."""
    manifest = json.loads((folder / MANIFEST).read_text())
    files = {name: data for package in manifest["packages"] for name, data in fetched(package, update)}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        print(f"{name}: {len(data):,} bytes")
    if update:
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def check(folder: Path) -> None:
    """Compare each file with its digest. Raises CannotVendor for a difference, a missing file, and one too many."""
    manifest = json.loads((folder / MANIFEST).read_text())
    expected = {file["name"]: file["sha256"] for package in manifest["packages"] for file in package["files"]}
    found = {path.name for path in folder.iterdir()} - {MANIFEST}
    if found != expected.keys():
        raise CannotVendor(f"the manifest and the folder differ in {', '.join(sorted(found ^ expected.keys()))}")
    for name, digest in expected.items():
        if _sha256((folder / name).read_bytes()) != digest:
            raise CannotVendor(f"{name} is not the file of the manifest; run make vendor")


def fetched(package: dict[str, Any], update: bool) -> list[tuple[str, bytes]]:
    """Return the files of a package by name. Raises CannotVendor.

    Args:
        package: Its entry in the manifest. With `update` the digests in it are replaced by those found.
    """
    archive, files = _archive(package, update), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive.tgz"
        path.write_bytes(archive)
        with tarfile.open(path) as tar:
            for file in package["files"]:
                member = tar.extractfile(f"package/{file['from']}")
                if member is None:
                    raise CannotVendor(f"{package['name']} has no file {file['from']}")
                data = member.read() + file.get("append", "").encode()
                if update:
                    file["sha256"] = _sha256(data)
                elif _sha256(data) != file["sha256"]:
                    raise CannotVendor(f"{file['from']} of {package['name']} is not the file of the manifest")
                files.append((file["name"], data))
    return files


def _archive(package: dict[str, Any], update: bool) -> bytes:
    """Return the archive of a package from the registry, its digest compared."""
    if shutil.which("npm") is None:
        raise CannotVendor("it needs npm: install it (Debian: apt-get install npm)")
    wanted = f"{package['name']}@{package['version']}"
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--ignore-scripts", "--silent", wanted]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=PACK_S)
        found = list(Path(folder).glob("*.tgz"))
        if ran.returncode or len(found) != 1:
            raise CannotVendor(f"npm pack {wanted} failed: {ran.stderr.strip()[-400:]}")
        if found[0].stat().st_size > ARCHIVE_BYTES_MAX:
            raise CannotVendor(f"the archive of {wanted} has over {ARCHIVE_BYTES_MAX:,} bytes")
        archive = found[0].read_bytes()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if update:
        package["integrity"] = integrity
    elif integrity != package["integrity"]:
        raise CannotVendor(f"the archive of {wanted} has the digest {integrity}, not that of the manifest")
    return archive


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
