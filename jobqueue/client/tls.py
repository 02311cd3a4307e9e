"""The client's side of TLS: the authority that it trusts, and its own certificate; given, or from the environment.

Rules:

1. What is given wins over `JOBQUEUE_CA_FILE`, `JOBQUEUE_CERT_FILE` and `JOBQUEUE_CERT_KEY_FILE`; an empty variable
   counts as none.
2. Without an authority the system's ones are trusted (and those of `SSL_CERT_FILE`, as everywhere in Python). A
   server's certificate is always verified, and its name compared: there is no option against that.
3. Files that are given need a URL that begins with `https://`. Those in the environment are ignored for others.
"""

from __future__ import annotations

import os
import ssl

import msgspec

from jobqueue.client.models import PathLike

CA_VARIABLE = "JOBQUEUE_CA_FILE"
CERT_VARIABLE = "JOBQUEUE_CERT_FILE"
CERT_KEY_VARIABLE = "JOBQUEUE_CERT_KEY_FILE"


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Files of TLS, in PEM form.

    Attributes:
        ca_file: Certificates of the authorities that are trusted; None: the system's.
        cert_file: The client's certificate; None: it shows none.
        cert_key_file: Its private key; None: it is in `cert_file`, too.
    """

    ca_file: PathLike | None = None
    cert_file: PathLike | None = None
    cert_key_file: PathLike | None = None

    def context_for(self, url: str) -> ssl.SSLContext | None:
        """Return the context of connections to a server; None: its URL is not of TLS.

        Raises:
            ValueError: A file can't be used, or the URL is not of TLS, and files are given.
        """
        ca_file = _given(self.ca_file, CA_VARIABLE)
        cert_file = _given(self.cert_file, CERT_VARIABLE)
        cert_key_file = _given(self.cert_key_file, CERT_KEY_VARIABLE)
        if not url.startswith("https:"):
            if given := [name for name in self.__struct_fields__ if getattr(self, name) is not None]:
                raise ValueError(f"{' and '.join(given)} need a URL that begins with https://")
            return None
        if cert_key_file is not None and cert_file is None:
            raise ValueError("a cert_key_file needs a cert_file: the certificate that the key belongs to")
        context = _trusting(ca_file)
        if cert_file is not None:
            _show(context, cert_file, cert_key_file)
        return context


def _given(path: PathLike | None, variable: str) -> str | None:
    if path is not None:
        return os.path.expanduser(os.fspath(path))
    return os.environ.get(variable) or None


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise ValueError(f"{ca_file} has no certificate in PEM form ({_reason(error)})") from None
    except OSError as error:
        raise ValueError(f"{ca_file} can't be read: {error.strerror}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _show(context: ssl.SSLContext, cert_file: str, cert_key_file: str | None) -> None:
    """Load the client's certificate."""

    def no_password() -> str:
        raise ValueError(f"the private key in {cert_key_file or cert_file} is encrypted: decrypt it with openssl pkey")

    try:
        context.load_cert_chain(cert_file, cert_key_file, no_password)
    except ssl.SSLError as error:
        files = cert_file if cert_key_file is None else f"{cert_file} and {cert_key_file}"
        raise ValueError(f"{files}: no certificate with its private key in PEM form ({_reason(error)})") from None
    except OSError as error:
        missing = next(
            (path for path in (cert_file, cert_key_file) if path and not os.access(path, os.R_OK)), cert_file
        )
        raise ValueError(f"{missing} can't be read: {error.strerror}") from None


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def is_refused_certificate(error: BaseException | None) -> bool:
    """Whether the server has ended the handshake because of the client's certificate, or for want of one.

    In TLS 1.3 a client may send its request before it reads that.
    """
    while error is not None:
        reason = getattr(error, "reason", None)  # aiohttp's errors are SSL errors without it
        if isinstance(error, ssl.SSLError) and reason is not None and "_ALERT_" in reason:
            return "CERTIFICATE" in reason or "UNKNOWN_CA" in reason
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return False
