"""The blocking client: carries the calls' requests in the calling thread."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, TypeVar, Unpack
from urllib.parse import urlsplit

from jobqueue.client import jobs, submit, waiting
from jobqueue.client import transport as wire
from jobqueue.client.credentials import given_key, given_url
from jobqueue.client.events import JobEvent, Listener, is_stream, listener_of
from jobqueue.client.hooks import Hooks, Watch, called, checked_transport, watch_of
from jobqueue.client.multipart import CHUNK_BYTES
from jobqueue.client.pages import Pages
from jobqueue.client.protocol import RETRY_READS_FOR_S, Answer, NoAnswer, Request, Steps, persistent
from jobqueue.client.submit import RETRY_FOR_S
from jobqueue.client.sync_flows import SyncFlows
from jobqueue.client.sync_operations import SyncOperations
from jobqueue.client.sync_topics import SyncTopics
from jobqueue.client.tls import TlsFiles
from jobqueue.client.transport import (
    STAND_IN_URL,
    EndlessAnswer,
    address_of,
    framed,
    named,
    no_answer,
    stood_in,
    whole_file,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from jobqueue.client.models import (
        BulkCount,
        Include,
        JobDocument,
        JobFilter,
        JobPage,
        JobStatus,
        ListFilter,
        PathLike,
        Submission,
        SubmitOptions,
    )
    from jobqueue.errors import JobQueueError
    from jobqueue.files.source import Files

T = TypeVar("T")
Transport = Callable[[Request], Answer]

_BROKEN = (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError, EndlessAnswer)


class SyncClient(SyncFlows, SyncTopics, SyncOperations):
    """The same calls as `Client`'s, blocking; one client may serve many threads.

    Each request has a connection of its own: nothing is shared between threads, and
    no idle connection can be closed just as a submission is sent on it. So there is nothing to close; `close` and
    `with` are there because programs expect them.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        ca_file: PathLike | None = None,
        cert_file: PathLike | None = None,
        cert_key_file: PathLike | None = None,
        timeout_s: float = 30.0,
        headers: Mapping[str, str] | None = None,
        retry_reads_for_s: float = RETRY_READS_FOR_S,
        before_request: Callable[[Request], Request | None] | None = None,
        after_answer: Callable[[Request, Answer], object] | None = None,
        transport: Transport | None = None,
    ) -> None:
        secret, is_given = given_key(key)
        url = STAND_IN_URL if transport is not None and url is None else given_url(url)
        self._address = address_of(url, named(headers), secret, key_is_given=is_given)
        self._hooks = Hooks(before_request, after_answer)
        self._transport = checked_transport(transport)
        files = TlsFiles(ca_file=ca_file, cert_file=cert_file, cert_key_file=cert_key_file)
        self._tls = files.context_for(self._address.url)
        self._timeout_s = timeout_s
        self._retry_reads_for_s = retry_reads_for_s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address.shown!r})"

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, of which there are none between two calls."""

    # -- submitting

    def submit(
        self,
        type: str,
        args: Mapping[str, Any] | None = None,
        *,
        files: Files | None = None,
        idempotency_key: str | None = None,
        retry_for_s: float = 0.0,
        wait_s: float = 0.0,
        on_progress: Callable[[JobDocument], object] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> JobDocument:
        """As `Client.submit`."""
        submission: Submission = {"type": type, "args": args or {}, **options}
        watch = watch_of(on_progress, wait_s)
        steps = submit.submit(submission, files, idempotency_key, retry_for_s, wait_s, watch)
        return self._run(steps, reads_for_s=0.0, watch=watch)

    def run(
        self,
        type: str,
        args: Mapping[str, Any] | None = None,
        *,
        files: Files | None = None,
        idempotency_key: str | None = None,
        retry_for_s: float = 0.0,
        wait_s: float | None = None,
        on_progress: Callable[[JobDocument], object] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Any:
        """As `Client.run`."""
        submission: Submission = {"type": type, "args": args or {}, **options}
        watch = watch_of(on_progress, wait_s)
        steps = submit.run(submission, files, idempotency_key, retry_for_s, wait_s, watch)
        return self._run(steps, reads_for_s=0.0, watch=watch)

    def submit_many(self, submissions: Iterable[Submission], *, retry_for_s: float = 0.0) -> list[str | JobQueueError]:
        """As `Client.submit_many`."""
        return self._run(submit.submit_many(submissions, retry_for_s=retry_for_s))

    # -- reading and waiting

    def status(self, id: str) -> JobStatus:
        """As `Client.status`."""
        return self._run(jobs.status(id))

    def get(self, id: str, *, include: Iterable[Include] = ()) -> JobDocument:
        """As `Client.get`."""
        return self._run(jobs.get(id, include))

    def get_many(self, ids: Iterable[str]) -> dict[str, JobDocument | JobQueueError]:
        """As `Client.get_many`."""
        return self._run(jobs.get_many(ids))

    def list(self, **filters: Unpack[ListFilter]) -> JobPage:
        """As `Client.list`."""
        return self._run(jobs.page(filters))

    def iter_all(self, **filters: Unpack[ListFilter]) -> Generator[JobDocument, None, None]:
        """As `Client.iter_all`."""
        pages = Pages(filters)
        while not pages.over:
            page = self.list(**pages.filters)
            yield from pages.take(page.jobs, page.next_cursor)

    def wait(
        self,
        id: str,
        timeout_s: float | None = None,
        *,
        retry_for_s: float = RETRY_FOR_S,
        on_progress: Callable[[JobDocument], object] | None = None,
    ) -> JobDocument:
        """As `Client.wait`."""
        watch = watch_of(on_progress, timeout_s)
        return self._run(waiting.wait(id, timeout_s, retry_for_s, watch), reads_for_s=0.0, watch=watch)

    def result(self, id: str, *, to: PathLike | None = None) -> Any:
        """As `Client.result`."""
        return self._run(jobs.result(id, to))

    def events(
        self, id: str | None = None, *, last_event_id: str = "", retry_for_s: float = 30.0
    ) -> Generator[JobEvent, None, None]:
        """As `Client.events`."""
        listener = listener_of(id, last_event_id=last_event_id, retry_for_s=retry_for_s)
        with closing(self._heard(listener)) as events:
            yield from events

    # -- steering

    def cancel(self, id: str) -> JobDocument:
        """As `Client.cancel`."""
        return self._run(jobs.cancel(id))

    def retry(self, id: str) -> JobDocument:
        """As `Client.retry`."""
        return self._run(jobs.retry(id))

    def run_now(self, id: str) -> JobDocument:
        """As `Client.run_now`."""
        return self._run(jobs.run_now(id))

    def delete(self, id: str) -> None:
        """As `Client.delete`."""
        self._run(jobs.delete(id))

    def retry_all(self, **job_filter: Unpack[JobFilter]) -> BulkCount:
        """As `Client.retry_all`."""
        return self._run(jobs.bulk("retry", job_filter))

    def cancel_all(self, **job_filter: Unpack[JobFilter]) -> BulkCount:
        """As `Client.cancel_all`."""
        return self._run(jobs.bulk("cancel", job_filter))

    def delete_all(self, **job_filter: Unpack[JobFilter]) -> BulkCount:
        """As `Client.delete_all`."""
        return self._run(jobs.bulk("delete", job_filter))

    def run_all_now(self, **job_filter: Unpack[JobFilter]) -> BulkCount:
        """As `Client.run_all_now`."""
        return self._run(jobs.bulk("run", job_filter))

    # -- carrying

    def _heard(self, listener: Listener) -> Generator[JobEvent, None, None]:
        while True:
            time.sleep(listener.pause_s)
            request = self._hooks.before(listener.request())
            with closing(self._stream(request)) as pieces:
                for piece in pieces:
                    if isinstance(piece, Answer):
                        self._hooks.after(request, piece)
                    yield from listener.take(piece)
                    if listener.over:
                        break
            if listener.over:
                return
            listener.ended()

    def _run(self, steps: Steps[T], *, reads_for_s: float | None = None, watch: Watch | None = None) -> T:
        steps = persistent(steps, reads_for_s=self._retry_reads_for_s if reads_for_s is None else reads_for_s)
        try:
            request = next(steps)
            while True:
                if request.after_s:
                    time.sleep(request.after_s)
                request = self._hooks.before(request)
                try:
                    answer = self._send(request)
                except NoAnswer as failure:
                    request = steps.throw(failure)
                else:
                    self._hooks.after(request, answer)
                    request = steps.send(answer)
                if watch is not None:
                    watch.tell()
        except StopIteration as end:
            result: T = end.value
            return result

    def _send(self, request: Request) -> Answer:
        if self._transport is not None:
            return self._stood_in(self._transport, request)
        with closing(self._connect(request)) as connection:
            try:
                with closing(self._ask(connection, request)) as answer:  # it holds the socket, too
                    return _read(answer, request)
            except _BROKEN as error:
                raise no_answer(request, self._address.name, error, unsent=False) from error

    def _stream(self, request: Request) -> Generator[Answer | NoAnswer | bytes, None, None]:
        """Yield the head of a stream of events and its chunks; or the answer or failure that came in its place."""
        if self._transport is not None:
            try:
                answer = self._stood_in(self._transport, request)
            except NoAnswer as failure:
                yield failure
            else:
                yield answer
                yield answer.body
            return
        try:
            connection = self._connect(request)
        except NoAnswer as failure:
            yield failure
            return
        opened = False
        with closing(connection):
            try:
                with closing(self._ask(connection, request)) as response:
                    if not is_stream(response.status, response.getheader("content-type", "")):
                        yield _read(response, request)
                        return
                    yield Answer(response.status, _names(response), b"")
                    opened = True
                    while chunk := response.read1(CHUNK_BYTES):
                        yield chunk
            except _BROKEN as error:
                if not opened:
                    yield no_answer(request, self._address.name, error, unsent=False)

    def _stood_in(self, transport: Transport, request: Request) -> Answer:
        whole = request.with_headers({**self._address.headers, **request.headers})
        try:
            answer = transport(whole)
        except (OSError, EOFError) as error:
            unsent = isinstance(error, ConnectionRefusedError)
            raise no_answer(request, self._address.name, error, unsent=unsent) from error
        called("transport", answer)
        return stood_in(request, answer)

    def _connect(self, request: Request) -> http.client.HTTPConnection:
        connection = self._connection()
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise no_answer(request, self._address.name, error, unsent=True) from error
        connection.sock.settimeout(self._timeout_s + request.quiet_s)
        return connection

    def _connection(self) -> http.client.HTTPConnection:
        url = urlsplit(self._address.url)
        host, port = url.hostname or "", url.port
        if self._address.socket is not None:
            return _UnixConnection(self._address.socket, self._timeout_s)
        if self._tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)

    def _ask(self, connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
        headers, body = framed(request)
        # A server that rejects an upload early answers before it has read it all, and closes:
        # its answer is worth reading although sending failed.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(
                request.method,
                urlsplit(self._address.url).path + request.target,
                body=body,
                headers={"Connection": "close", **self._address.headers, **headers},
            )
        return connection.getresponse()


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _read(answer: http.client.HTTPResponse, request: Request) -> Answer:
    names = _names(answer)
    if request.save_to is None or answer.status != 200:
        body = bytearray()
        for chunk in _chunks(answer):
            body += chunk
            if len(body) > wire.ANSWER_BYTES_MAX:
                raise EndlessAnswer
        return Answer(answer.status, names, _decompressed(bytes(body), names.get("content-encoding", "")))
    with whole_file(request.save_to) as file:
        for chunk in _chunks(answer):
            file.write(chunk)
    return Answer(answer.status, names, b"")


def _names(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.getheaders()}


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := answer.read(CHUNK_BYTES):
        yield chunk
    if answer.length:  # such a read takes a broken connection for an end
        raise http.client.IncompleteRead(b"", answer.length)


def _decompressed(body: bytes, coding: str) -> bytes:
    """Undo what a proxy did unasked: the requests say `Accept-Encoding: identity`."""
    if coding.lower() not in ("gzip", "x-gzip", "deflate") or not body:
        return body
    either = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = either.decompress(body, wire.ANSWER_BYTES_MAX)
    except zlib.error as error:
        raise http.client.HTTPException(f"its answer can't be decompressed: {error}") from error
    if either.unconsumed_tail:
        raise EndlessAnswer
    return plain
