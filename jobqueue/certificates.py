"""Certificates: reads the files of `server.tls` into a context for new connections.

Rules:

1. TLS 1.2 and 1.3, HTTP/1.1 by ALPN, without compression and renegotiation; ciphers are Python's default ones.
2. A file that can't be used is a fault that names the setting and the file, at the start and at a reload alike.
3. A certificate that has expired, or isn't valid yet, is a warning: the clock may be wrong, and clients decide.
4. With `client_ca` no session is resumed by a ticket: each connection shows a certificate that is valid now.
"""

from __future__ import annotations

import os
import ssl
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobqueue.errors import ConfigError
from jobqueue.log import event_logger
from jobqueue.paths import written_path

if TYPE_CHECKING:
    from pathlib import Path

    from jobqueue.config.tls import TlsSettings

FILE_BYTES_MAX = 1 << 22
"""Of one file: the bundle of all public certificate authorities has a twentieth of it."""

_CERTIFICATE, _KEY, _ENCRYPTED = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----", b"ENCRYPTED"
_EXPIRED, _NOT_YET = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID

log = event_logger(__name__)


def load_context(tls: TlsSettings) -> ssl.SSLContext | None:
    """Return the context of new connections; None: TLS is off. Raises ConfigError with every fault."""
    if tls.cert is None or tls.key is None:
        return None
    faults: list[str] = []
    cert = _checked("cert", tls.cert, faults)
    key = _checked("key", tls.key, faults)
    authorities = _checked("client_ca", tls.client_ca, faults) if tls.client_ca is not None else None
    if faults or cert is None or key is None:
        raise ConfigError(*faults)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    trusting = _trusting("cert", cert)
    try:
        context.load_cert_chain(cert, key, password=lambda: b"")  # without one it would ask on the terminal
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(_why(cert, key, error)) from None
    expires_at = _check_dates(context, trusting, cert)
    if authorities is not None:
        _trusting("client_ca", authorities)
        context.load_verify_locations(authorities)
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    log.info("tls.loaded", cert=str(cert), expires_at=expires_at, client_ca=str(authorities) if authorities else None)
    return context


def _checked(name: str, text: str, faults: list[str]) -> Path | None:
    """Return the path of a file that can be what its setting says; None: it can't, and `faults` says why."""
    setting = f"server.tls.{name}"
    try:
        path = written_path(text)
        found = _read(path)
    except (OSError, ValueError) as error:
        faults.append(f"{setting}: {text}: {error.strerror if isinstance(error, OSError) else error}")
        return None
    if name == "key":
        if _KEY not in found:
            swapped = " (it has a certificate: are cert and key swapped?)" if _CERTIFICATE in found else ""
            faults.append(f"{setting}: {path}: no private key in PEM form{swapped}")
            return None
        if _ENCRYPTED in found:
            faults.append(
                f"{setting}: {path}: the private key is encrypted, and a server can't ask for its password; "
                f"decrypt it: openssl pkey -in {path} -out KEY"
            )
            return None
    elif _CERTIFICATE not in found:
        swapped = " (it has a private key: are cert and key swapped?)" if name == "cert" and _KEY in found else ""
        faults.append(f"{setting}: {path}: no certificate in PEM form{swapped}")
        return None
    return path


def _read(path: Path) -> bytes:
    """Read a file, neither a pipe nor a device: those may never end. Raises OSError, ValueError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(fd)
        if stat.S_ISDIR(state.st_mode):
            raise ValueError("is a folder, not a file")
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("is not a regular file")
        if state.st_size > FILE_BYTES_MAX:
            raise ValueError(f"has more than {FILE_BYTES_MAX} bytes")
        return os.read(fd, FILE_BYTES_MAX)
    finally:
        os.close(fd)


def _trusting(name: str, path: Path) -> ssl.SSLContext:
    """Return a client's context that trusts just these certificates. Raises ConfigError if they are damaged."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"server.tls.{name}: {path}: is damaged ({_reason(error)})") from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _why(cert: Path, key: Path, error: Exception) -> str:
    reason = _reason(error)
    if "mismatch" in reason:
        return f"server.tls.key: {key}: is not the private key of the certificate in {cert}"
    if "too small" in reason or "too weak" in reason:
        return f"server.tls.cert: {cert}: {reason}: its key or its signature is too weak for TLS today"
    return f"server.tls.key: {key}: is damaged ({reason})"


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).lower().replace("_", " ")


def _check_dates(context: ssl.SSLContext, trusting: ssl.SSLContext, cert: Path) -> str | None:
    """Return when the certificate expires; None, with a warning: it is not valid now.

    A handshake in memory, with a client that trusts just this certificate, reads the dates as clients do.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (client, server, client, server, client):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (_EXPIRED, _NOT_YET):
            log.warning("tls.certificate_invalid", cert=str(cert), reason=error.verify_message)
        return None  # other reasons are the clients' to judge
    except ssl.SSLError as error:
        raise ConfigError(f"server.tls.cert: {cert}: no handshake succeeds with it: {_reason(error)}") from None
    shown = client.getpeercert()
    until = ssl.cert_time_to_seconds(str(shown["notAfter"])) if shown else None
    return None if until is None else datetime.fromtimestamp(until, UTC).isoformat().replace("+00:00", "Z")
