"""The settings of TLS."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jobqueue.config.section import Section


class TlsSettings(Section, frozen=True):
    """TLS of the TCP port: off unless certificate and key are given."""

    cert: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4096,
                description="File of the server's certificate in PEM form, followed by those of its issuers up to, "
                "and without, the root; null: no TLS.",
            ),
        ]
        | None
    ) = None
    key: (
        Annotated[
            str,
            Meta(min_length=1, max_length=4096, description="File of the certificate's private key, not encrypted."),
        ]
        | None
    ) = None
    client_ca: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4096,
                description="File of the certificates that issue the clients' ones: a client without such a "
                "certificate is rejected, and the name in it is the caller; null: clients need none.",
            ),
        ]
        | None
    ) = None
