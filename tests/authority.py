"""A certificate authority for tests, made by the `openssl` command; without it such tests are skipped."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Certificate(NamedTuple):
    """The files of a certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority of its own, with files in a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        if shutil.which("openssl") is None:
            pytest.skip("the openssl command is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.cert, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        self._serial = 0
        openssl("req", "-x509", *EC, "-keyout", self._key, "-out", self.cert, "-subj", f"/CN={name}", "-days", 30)

    def issue(
        self, file: str, subject: str = "/CN=localhost", names: str = "DNS:localhost", days: int = 30
    ) -> Certificate:
        """Issue a certificate; the address 127.0.0.1 is among its names if `names` has `localhost`."""
        self._serial += 1
        made = Certificate(self._folder / f"{file}.pem", self._folder / f"{file}.key")
        request, extensions = self._folder / f"{file}.csr", self._folder / f"{file}.ext"
        names += ",IP:127.0.0.1" if "DNS:localhost" in names else ""
        extensions.write_text(f"subjectAltName={names}\n" if names else "basicConstraints=CA:FALSE\n")
        openssl("req", *EC, "-keyout", made.key, "-out", request, "-subj", subject)
        signing = ("-CA", self.cert, "-CAkey", self._key, "-set_serial", self._serial, "-extfile", extensions)
        openssl("x509", "-req", "-in", request, *signing, "-out", made.cert, "-days", days)
        return made

    def client_context(self, certificate: Certificate | None = None) -> ssl.SSLContext:
        """Return a client's context, which trusts this authority."""
        context = ssl.create_default_context(cafile=self.cert)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context


EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
