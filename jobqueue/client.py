"""The Python client: `Client` for asyncio, `SyncClient` for threads.

This module carries requests to a server and answers back; what the requests say and
what the answers mean is written once, in `calls.py`. It knows nothing of the engine.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, TypeVar, Unpack
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from jobqueue import calls
from jobqueue.calls import (
    Answer,
    ErrorAnswer,
    JobDocument,
    JobError,
    JobPage,
    JobStatus,
    ListFilter,
    Multipart,
    PathLike,
    Request,
    Steps,
    SubmitOptions,
)
from jobqueue.errors import JobQueueError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Client",
    "ErrorAnswer",
    "FateUnknown",
    "JobDocument",
    "JobError",
    "JobPage",
    "JobStatus",
    "ListFilter",
    "Multipart",
    "NoAnswer",
    "SubmitOptions",
    "SyncClient",
    "Unreachable",
]

T = TypeVar("T")


class NoAnswer(JobQueueError):
    """The connection broke, or the server kept silent; the request changed nothing and may be repeated."""


class Unreachable(NoAnswer):
    """No connection could be made: nothing was sent."""


class FateUnknown(NoAnswer):
    """The connection broke after a POST was sent: the server may or may not have acted on it."""


class Client:
    """The asynchronous client: `async with Client("http://127.0.0.1:8080") as client`.

    Args:
        timeout_s: How long to wait for a connection, and for the next byte of an answer.
        headers: Sent with every request.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0, headers: Mapping[str, str] | None = None) -> None:
        self._url = _checked(url)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=timeout_s, sock_read=timeout_s)
        self._headers = dict(headers or {})
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def submit(
        self,
        type: str,
        args: Mapping[str, Any] | None = None,
        *,
        files: Mapping[str, PathLike] | None = None,
        retry_for_s: float = 0.0,
        **options: Unpack[SubmitOptions],
    ) -> JobDocument:
        """Submit a job.

        Args:
            files: Part name to path; the handler finds the parts in `ctx.files`.
            retry_for_s: How long to keep coming back when refused, each time when the server
                says so. A submission whose fate is unknown is never sent again.

        Raises:
            InvalidSubmission, UnknownType: It can't be accepted as it is.
            Refused: Not now; nothing was kept.
            FateUnknown: It was sent, but no answer came; it may have been accepted.
            Unreachable: It was not sent.
        """
        return await self._run(calls.submit(type, args, files, retry_for_s, options))

    async def status(self, id: str) -> JobStatus:
        """Ask by HEAD, the cheapest question. Raises JobNotFound, JobGone."""
        return await self._run(calls.status(id))

    async def get(self, id: str) -> JobDocument:
        """Return the job's document. Raises JobNotFound, JobGone."""
        return await self._run(calls.get(id))

    async def get_many(self, ids: Iterable[str]) -> dict[str, JobDocument | JobQueueError]:
        """Return a document for each id, or the error that `get` would raise."""
        return await self._run(calls.get_many(ids))

    async def wait(self, id: str, timeout_s: float | None = None) -> JobDocument:
        """Poll, as often as the server suggests, until the job is over.

        Raises:
            TimeoutError: It still lives after `timeout_s`.
            JobNotFound, JobGone: As in `get`.
        """
        return await self._run(calls.wait(id, timeout_s))

    async def result(self, id: str, *, to: PathLike | None = None) -> Any:
        """Return the JSON result; or write the result to the file `to`, and return its path.

        Raises:
            WrongState: The job lives, or ended without a result.
            ValueError: The result is a file, and `to` was not given.
        """
        return await self._run(calls.result(id, to))

    async def cancel(self, id: str) -> JobDocument:
        """Cancel a live job; the document says `running` as long as its handler is being stopped.

        Raises:
            WrongState: The job is over.
        """
        return await self._run(calls.cancel(id))

    async def delete(self, id: str) -> None:
        """Forget a job that is over, and its files. Raises WrongState while it lives."""
        await self._run(calls.delete(id))

    async def queues(self) -> tuple[dict[str, Any], ...]:
        """Return what the server tells of each queue."""
        return await self._run(calls.queues())

    async def list(self, **filters: Unpack[ListFilter]) -> JobPage:
        """Return a page of the jobs that match, newest first."""
        return await self._run(calls.page(filters))

    async def _run(self, steps: Steps[T]) -> T:
        try:
            request = next(steps)
            while True:
                if request.after_s:
                    await asyncio.sleep(request.after_s)
                request = steps.send(await self._send(request))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _send(self, request: Request) -> Answer:
        if self._session is None:
            # Idle connections are given up well before a server closes them (`limits.silent_s`):
            # a submission on a connection that is just being closed has an unknown fate.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5.0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=self._headers)
        headers, body = _framed(request)
        try:
            async with self._session.request(
                request.method,
                URL(self._url + request.target, encoded=True),
                headers=headers,
                data=_read_in_thread(body) if isinstance(body, Iterator) else body,
                allow_redirects=False,
            ) as answer:
                names = {name.lower(): value for name, value in answer.headers.items()}
                if request.save_to is None or answer.status != 200:
                    return Answer(answer.status, names, await answer.read())
                with _whole(request.save_to) as file:
                    async for chunk in answer.content.iter_chunked(calls.CHUNK_BYTES):
                        await asyncio.to_thread(file.write, chunk)
                return Answer(answer.status, names, b"")
        except (aiohttp.ClientError, TimeoutError) as error:
            unsent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            raise _no_answer(request, self._url, error, unsent=unsent) from error


class SyncClient:
    """The same calls, blocking; one client may serve many threads.

    Each request has a connection of its own: nothing is shared between threads, and
    no idle connection can be closed just as a submission is sent on it.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0, headers: Mapping[str, str] | None = None) -> None:
        self._url = _checked(url)
        self._timeout_s = timeout_s
        self._headers = dict(headers or {})

    def submit(
        self,
        type: str,
        args: Mapping[str, Any] | None = None,
        *,
        files: Mapping[str, PathLike] | None = None,
        retry_for_s: float = 0.0,
        **options: Unpack[SubmitOptions],
    ) -> JobDocument:
        """As `Client.submit`."""
        return self._run(calls.submit(type, args, files, retry_for_s, options))

    def status(self, id: str) -> JobStatus:
        """As `Client.status`."""
        return self._run(calls.status(id))

    def get(self, id: str) -> JobDocument:
        """As `Client.get`."""
        return self._run(calls.get(id))

    def get_many(self, ids: Iterable[str]) -> dict[str, JobDocument | JobQueueError]:
        """As `Client.get_many`."""
        return self._run(calls.get_many(ids))

    def wait(self, id: str, timeout_s: float | None = None) -> JobDocument:
        """As `Client.wait`."""
        return self._run(calls.wait(id, timeout_s))

    def result(self, id: str, *, to: PathLike | None = None) -> Any:
        """As `Client.result`."""
        return self._run(calls.result(id, to))

    def cancel(self, id: str) -> JobDocument:
        """As `Client.cancel`."""
        return self._run(calls.cancel(id))

    def delete(self, id: str) -> None:
        """As `Client.delete`."""
        self._run(calls.delete(id))

    def queues(self) -> tuple[dict[str, Any], ...]:
        """As `Client.queues`."""
        return self._run(calls.queues())

    def list(self, **filters: Unpack[ListFilter]) -> JobPage:
        """As `Client.list`."""
        return self._run(calls.page(filters))

    def _run(self, steps: Steps[T]) -> T:
        try:
            request = next(steps)
            while True:
                if request.after_s:
                    time.sleep(request.after_s)
                request = steps.send(self._send(request))
        except StopIteration as end:
            result: T = end.value
            return result

    def _send(self, request: Request) -> Answer:
        url = urlsplit(self._url)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(url.hostname or "", url.port, timeout=self._timeout_s)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise _no_answer(request, self._url, error, unsent=True) from error
        headers, body = _framed(request)
        try:
            # A server that refuses an upload early answers before it has read it all, and closes:
            # its answer is worth reading although sending failed.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(
                    request.method,
                    url.path + request.target,
                    body=body,
                    headers={"Connection": "close", **self._headers, **headers},
                )
            return self._read(connection.getresponse(), request)
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _no_answer(request, self._url, error, unsent=False) from error
        finally:
            connection.close()

    @staticmethod
    def _read(answer: http.client.HTTPResponse, request: Request) -> Answer:
        names = {name.lower(): value for name, value in answer.getheaders()}
        if request.save_to is None or answer.status != 200:
            return Answer(answer.status, names, answer.read())
        with _whole(request.save_to) as file:
            shutil.copyfileobj(answer, file, calls.CHUNK_BYTES)
            if answer.length:  # copyfileobj reads a connection that broke as an end
                raise http.client.IncompleteRead(b"", answer.length)
        return Answer(answer.status, names, b"")


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no server's URL; one looks like http://127.0.0.1:8080")
    return url.rstrip("/")


def _framed(request: Request) -> tuple[dict[str, str], bytes | Iterator[bytes] | None]:
    headers = dict(request.headers)
    if not isinstance(request.body, Multipart):
        return headers, request.body
    headers["Content-Length"] = str(request.body.size_bytes)
    return headers, request.body.chunks()


async def _read_in_thread(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that stands at `path` only once it is whole."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _no_answer(request: Request, url: str, error: Exception, *, unsent: bool) -> NoAnswer:
    why = str(error) or type(error).__name__
    if unsent:
        return Unreachable(f"{url} can't be reached: {why}")
    if request.method == "POST":
        return FateUnknown(f"{url} was sent a POST, but no answer came ({why}): it may have taken effect")
    return NoAnswer(f"{url} did not answer: {why}")
