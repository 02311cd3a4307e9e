"""The section `webhooks` of the settings: receivers of events outside, and where deliveries may go."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jobqueue.config.section import Section
from jobqueue.paths import written_path
from jobqueue.webhooks.addresses import Allowed
from jobqueue.webhooks.signature import SECRET_EXPECTED
from jobqueue.webhooks.url import NO_CALLBACKS, URL_LENGTH_MAX, fault_of_callback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WEBHOOK = "webhook"
"""The type of the jobs that deliver. They are made by the server alone."""

WEBHOOKS = "webhooks"
"""Their queue, which is there if the settings have a receiver."""

ENDPOINTS_MAX = 100
SECRET_FILE_BYTES_MAX = 1024
TIMEOUT_S_MAX = 15.0
SECRET = r"whsec_[A-Za-z0-9+/]{32,86}={0,2}(?: whsec_[A-Za-z0-9+/]{32,86}={0,2})?"
SECRET_EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOST = r"[A-Za-z0-9_.:\[\]-]+"
ENTRY = r"[A-Za-z0-9_.:-]+(?:/[0-9]{1,3})?"
NAMES = r"[A-Za-z0-9_.-]{1,100}"

JobEnd = Literal["job.succeeded", "job.failed", "job.cancelled", "job.expired"]
Secret = Annotated[
    str,
    Meta(
        pattern=f"^{SECRET}$",
        max_length=200,
        examples=[SECRET_EXAMPLE],
        description="Secret of the signatures, from `jobqueue webhooks secret`, or two with a space between, which "
        "both sign; null: that of `secret_file`.",
    ),
]
SecretFile = Annotated[
    str,
    Meta(min_length=1, max_length=4096, description="File with the secret, in place of `secret`; null: there is none."),
]


class EndpointSettings(Section, frozen=True):
    """Settings of one receiver of events."""

    url: Annotated[
        str,
        Meta(
            pattern="^[!-~]+$",
            max_length=URL_LENGTH_MAX,
            examples=["https://example.com/hooks/jobs"],
            description="Where events are sent, by POST: https, or http to a host that `webhooks.allow` lists.",
        ),
    ]
    events: Annotated[
        tuple[JobEnd, ...],
        Meta(
            max_length=4,
            examples=["job.failed"],
            description="Ends of jobs that are sent: job.succeeded, job.failed, job.cancelled, job.expired.",
        ),
    ] = ()
    topics: Annotated[
        tuple[Annotated[str, Meta(pattern="^[!-~]+$", max_length=1000, examples=["order.paid", "order.>"])], ...],
        Meta(max_length=100, description="Patterns of topics: what is published to them is sent."),
    ] = ()
    types: Annotated[
        tuple[Annotated[str, Meta(pattern=f"^{NAMES}$", max_length=100, examples=["transcode", "mail"])], ...],
        Meta(max_length=100, description="Types of jobs whose ends are sent; if empty, of all."),
    ] = ()
    queues: Annotated[
        tuple[Annotated[str, Meta(pattern=f"^{NAMES}$", max_length=64, examples=["default", "media"])], ...],
        Meta(max_length=100, description="Queues of jobs whose ends are sent; if empty, of all."),
    ] = ()
    secret: Secret | None = None
    secret_file: SecretFile | None = None
    timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=TIMEOUT_S_MAX, description="Maximum duration of one attempt, from the lookup to the answer."),
    ] = TIMEOUT_S_MAX
    attempts_max: Annotated[
        int, Meta(ge=1, le=100, description="Maximum number of attempts of one delivery, with backoff between them.")
    ] = 10
    pending_max: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Maximum number of live deliveries to this receiver; further events are dropped, and counted.",
        ),
    ] = 1000


class WebhooksSettings(Section, frozen=True):
    """Webhooks: ends of jobs and data of topics are sent to receivers, signed, as jobs of the queue `webhooks`."""

    allow: Annotated[
        tuple[
            Annotated[str, Meta(pattern=f"^{ENTRY}$", max_length=253, examples=["crm.internal", "10.1.0.0/16"])], ...
        ],
        Meta(
            max_length=100,
            description="Hosts, addresses and networks that deliveries may go to beside public addresses; a listed "
            "one may have http.",
        ),
    ] = ()
    callbacks: Annotated[
        bool, Meta(description="Whether a submission may have a `callback`, a URL to which the end of its job is sent.")
    ] = False
    callback_hosts: Annotated[
        tuple[
            Annotated[str, Meta(pattern=f"^{HOST}$", max_length=261, examples=["app.example.com", "[fd12::1]:8443"])],
            ...,
        ],
        Meta(
            max_length=100,
            description="Hosts that callbacks may go to, at the port of https or http; with a port, as in "
            "`app.example.com:8443`, at that one. No others.",
        ),
    ] = ()
    secret: Secret | None = None
    secret_file: SecretFile | None = None
    endpoints: Annotated[
        dict[Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")], EndpointSettings],
        Meta(description="The receivers, by name."),
    ] = msgspec.field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether anything is delivered, so that the queue and its type are there."""
        return self.callbacks or bool(self.endpoints)

    def secret_of(self, endpoint: EndpointSettings) -> str | None:
        """The secret that signs what an endpoint gets; None: there is none."""
        return endpoint.secret or self.secret

    def fault_of_callback(self, url: str) -> str | None:
        """Return what is wrong with the callback of a submission; None: nothing."""
        if not self.callbacks:
            return NO_CALLBACKS
        return fault_of_callback(url, Allowed(self.allow), self.callback_hosts)


def read_secret(text: str) -> str:
    """Return the secret in a file, which has nothing else but white space around it.

    Args:
        text: The file's path, as the settings have it.

    Raises:
        ValueError: The file can't be used; the message says why.
    """
    path = written_path(text)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # to open a pipe would wait for its writer
            raise ValueError(f"{text} is not a regular file")
        if mode & stat.S_IWOTH:
            raise ValueError(f"all users may write to {text}: run `chmod o-w {text}`")
        with path.open("rb") as file:
            data = file.read(SECRET_FILE_BYTES_MAX + 1)
    except OSError as failure:
        raise ValueError(f"{text} can't be read: {failure.strerror}") from None
    if len(data) > SECRET_FILE_BYTES_MAX or not data.isascii():
        raise ValueError(f"{text} has no secret: {SECRET_EXPECTED}")
    return " ".join(data.decode().split())


def faults_of_names(endpoints: Mapping[str, Mapping[str, Any]], faults: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with endpoints as they were read, before they are settings.

    Args:
        faults: Those that were found: a URL with a fault isn't read, and is not said to be missing.
    """
    known = tuple(faults)
    for name, endpoint in endpoints.items():
        if "url" not in endpoint and not any(f"webhooks.endpoints.{name}.url" in fault for fault in known):
            yield f"webhooks.endpoints.{name}: lacks url, where its events are sent"
    if len(endpoints) > ENDPOINTS_MAX:
        yield f"webhooks.endpoints: {len(endpoints)} are configured, and at most {ENDPOINTS_MAX} are allowed"
