"""The asynchronous client: carries the calls' requests on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

import aiohttp
from yarl import URL

from jobqueue.client import jobs, submit, waiting
from jobqueue.client import transport as wire
from jobqueue.client.async_flows import AsyncFlows
from jobqueue.client.async_operations import AsyncOperations
from jobqueue.client.async_topics import AsyncTopics
from jobqueue.client.credentials import given_key, given_url
from jobqueue.client.events import JobEvent, Listener, is_stream, listener_of
from jobqueue.client.hooks import Hooks, Watch, awaited, checked_transport, watch_of
from jobqueue.client.in_process import InProcess, is_application
from jobqueue.client.multipart import CHUNK_BYTES
from jobqueue.client.pages import Pages
from jobqueue.client.protocol import RETRY_READS_FOR_S, Answer, NoAnswer, Request, Steps, persistent
from jobqueue.client.sessions import Sessions
from jobqueue.client.submit import RETRY_FOR_S
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
    from aiohttp import web

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
Transport = Callable[[Request], Awaitable[Answer]]


class Client(AsyncFlows, AsyncTopics, AsyncOperations):
    """The asynchronous client: `async with Client("http://127.0.0.1:8080") as client`.

    One client may serve several event loops, one after the other or in different threads.

    Args:
        url: `http://`, `https://`, or `unix:` and the path of a socket. Defaults to `JOBQUEUE_URL`. A user and a
            password in it are sent, too.
        key: The API key. Defaults to `JOBQUEUE_KEY`; an empty one sends none.
        ca_file: Certificates of the authorities that are trusted, for `https://` (PEM). Defaults to
            `JOBQUEUE_CA_FILE`, or else to those of the system.
        cert_file: The client's certificate, where the server wants one (PEM). Defaults to `JOBQUEUE_CERT_FILE`.
        cert_key_file: Its private key, unless it is in `cert_file`. Defaults to `JOBQUEUE_CERT_KEY_FILE`.
        timeout_s: How long to wait for a connection, and for the next byte of an answer (beside a requested
            wait).
        headers: Sent with every request.
        retry_reads_for_s: How long a read that is not answered, or only by a proxy, is repeated. Defaults to 5 s.
        before_request: Called with each request before it is sent; may return another one, such as
            `request.with_headers({...})`, to be sent instead. What it raises ends the call.
        after_answer: Called with each request and its answer, errors too. A stream of events has an empty body.
        transport: For tests: an aiohttp application that answers in this process, such as
            `jobqueue.http.application(queue)`, started at the first request and stopped by `close`; or a function that
            returns an `Answer` to each `Request`. No URL is needed then.

    Raises:
        ValueError: There is no URL, it or the key is malformed, or a file can't be used; no message shows a key.
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
        before_request: Callable[[Request], Awaitable[Request | None] | Request | None] | None = None,
        after_answer: Callable[[Request, Answer], object] | None = None,
        transport: web.Application | Transport | None = None,
    ) -> None:
        secret, is_given = given_key(key)
        url = STAND_IN_URL if transport is not None and url is None else given_url(url)
        self._address = address_of(url, named(headers), secret, key_is_given=is_given)
        self._hooks = Hooks(before_request, after_answer)
        in_process = InProcess(transport) if is_application(transport) else None
        self._transport = cast("Transport", checked_transport(transport)) if transport and not in_process else None
        self._timeout_s = timeout_s
        self._retry_reads_for_s = retry_reads_for_s
        files = TlsFiles(ca_file=ca_file, cert_file=cert_file, cert_key_file=cert_key_file)
        tls = files.context_for(self._address.url)
        self._sessions = Sessions(self._address.headers, self._address.socket, tls, in_process)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address.shown!r})"

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. A later call would open new ones."""
        await self._sessions.close()

    # -- submitting

    async def submit(
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
        """Submit a job.

        Args:
            files: Part name to a path, bytes, an open file, or (name, one of these[, media type]); to a list of them
                for several. The handler finds them in `ctx.files`.
            idempotency_key: Your own key for this submission, instead of a generated one: submitted again under
                it, even by another process, it is the same job.
            retry_for_s: How long to repeat it after a rejection (by its Retry-After), while no server listens, or
                when the answer was lost, or a proxy's. It never becomes two jobs, as long as one server
                runs.
            wait_s: Return as soon as the job is terminal, or after this time.
            on_progress: Called with the document of the live job at each change of its state and progress meanwhile.

        Raises:
            InvalidSubmission, UnknownType: It is invalid.
            Refused: It was rejected for now, and nothing was kept.
            Duplicate: A live job has this `unique` value, and the mode is `reject`.
            KeyReused: Something else was submitted under this key.
            FateUnknown: It was sent, but no answer came; it may have been accepted.
            Unreachable: It was not sent.
            TypeError, ValueError, OSError: One of `files` is no file, or can't be read.
        """
        submission: Submission = {"type": type, "args": args or {}, **options}
        watch = watch_of(on_progress, wait_s)
        steps = submit.submit(submission, files, idempotency_key, retry_for_s, wait_s, watch)
        return await self._run(steps, reads_for_s=0.0, watch=watch)

    async def run(
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
        """Submit a job, wait for its end, and return its result.

        Args:
            wait_s: Maximum time in all; None: no limit.
            on_progress: As in `submit`.

        Raises:
            JobFailed: It failed, was cancelled, or expired; `code` and `message` say why.
            TimeoutError: It is still live after `wait_s`.
            InvalidSubmission, UnknownType, Refused, Duplicate, KeyReused, FateUnknown, Unreachable: As in `submit`.
            JobGone, NoAnswer: As in `wait`.
        """
        submission: Submission = {"type": type, "args": args or {}, **options}
        watch = watch_of(on_progress, wait_s)
        steps = submit.run(submission, files, idempotency_key, retry_for_s, wait_s, watch)
        return await self._run(steps, reads_for_s=0.0, watch=watch)

    async def submit_many(
        self, submissions: Iterable[Submission], *, retry_for_s: float = 0.0
    ) -> list[str | JobQueueError]:
        """Submit jobs, up to a thousand in a request; each is accepted or rejected by itself.

        Returns:
            For each, in order, the id of its job, or the error that `submit` would raise.
        """
        return await self._run(submit.submit_many(submissions, retry_for_s=retry_for_s))

    # -- reading and waiting

    async def status(self, id: str) -> JobStatus:
        """Ask by HEAD, the cheapest question. Raises JobNotFound, JobGone."""
        return await self._run(jobs.status(id))

    async def get(self, id: str, *, include: Iterable[Include] = ()) -> JobDocument:
        """Return the job's document; with what `include` names of `args`, `spec`, `files` and `events`, too.

        Raises:
            JobNotFound, JobGone: There is none, or none any more.
        """
        return await self._run(jobs.get(id, include))

    async def get_many(self, ids: Iterable[str]) -> dict[str, JobDocument | JobQueueError]:
        """Return a document for each id, or the error that `get` would raise."""
        return await self._run(jobs.get_many(ids))

    async def list(self, **filters: Unpack[ListFilter]) -> JobPage:
        """Return a page of the jobs that match, newest first."""
        return await self._run(jobs.page(filters))

    async def iter_all(self, **filters: Unpack[ListFilter]) -> AsyncGenerator[JobDocument, None]:
        """Yield all jobs that match, page by page; `limit` is the number of jobs on a page."""
        pages = Pages(filters)
        while not pages.over:
            page = await self.list(**pages.filters)
            for job in pages.take(page.jobs, page.next_cursor):
                yield job

    async def wait(
        self,
        id: str,
        timeout_s: float | None = None,
        *,
        retry_for_s: float = RETRY_FOR_S,
        on_progress: Callable[[JobDocument], object] | None = None,
    ) -> JobDocument:
        """Wait for the job's end by long polls; poll at the suggested interval while the server doesn't wait.

        Args:
            retry_for_s: How long to go on while no answer comes, or only a proxy's.
            on_progress: As in `submit`.

        Raises:
            TimeoutError: It is still live after `timeout_s`.
            JobNotFound, JobGone: As in `get`.
            NoAnswer: None came for `retry_for_s`.
        """
        watch = watch_of(on_progress, timeout_s)
        return await self._run(waiting.wait(id, timeout_s, retry_for_s, watch), reads_for_s=0.0, watch=watch)

    async def result(self, id: str, *, to: PathLike | None = None) -> Any:
        """Return the JSON result; or write the result to the file `to`, and return its path.

        Raises:
            JobFailed: The job failed, was cancelled, or expired; `code` and `message` say why.
            WrongState: The job is live.
            ValueError: The result is a file, and `to` was not given.
        """
        return await self._run(jobs.result(id, to))

    async def events(
        self, id: str | None = None, *, last_event_id: str = "", retry_for_s: float = 30.0
    ) -> AsyncGenerator[JobEvent, None]:
        """Yield the events of a job, until it is terminal; without an id, those of all jobs, without end.

        A broken stream is resumed after the last event received, if the server still has it.

        Args:
            last_event_id: Begin after this event.
            retry_for_s: How long to try to reopen a stream.

        Raises:
            JobNotFound, JobGone: As in `get`.
            Refused, NoAnswer: No stream could be opened for `retry_for_s`.
        """
        listener = listener_of(id, last_event_id=last_event_id, retry_for_s=retry_for_s)
        async with aclosing(self._heard(listener)) as events:
            async for event in events:
                yield event

    # -- steering

    async def cancel(self, id: str) -> JobDocument:
        """Cancel a live job; the document says `running` as long as its handler is being stopped.

        Raises:
            WrongState: The job is terminal.
        """
        return await self._run(jobs.cancel(id))

    async def retry(self, id: str) -> JobDocument:
        """Retry a failed job, with all of its attempts.

        Raises:
            WrongState: It has not failed.
            Refused: There is no slot for it now.
        """
        return await self._run(jobs.retry(id))

    async def run_now(self, id: str) -> JobDocument:
        """End a delayed job's delay. Raises WrongState if it has none."""
        return await self._run(jobs.run_now(id))

    async def delete(self, id: str) -> None:
        """Delete a terminal job, and its files. Raises WrongState while it is live."""
        await self._run(jobs.delete(id))

    async def retry_all(self, **job_filter: Unpack[JobFilter]) -> BulkCount:
        """Retry the failed jobs that match; at least one filter is required, here and in the next three."""
        return await self._run(jobs.bulk("retry", job_filter))

    async def cancel_all(self, **job_filter: Unpack[JobFilter]) -> BulkCount:
        """Cancel the live jobs that match."""
        return await self._run(jobs.bulk("cancel", job_filter))

    async def delete_all(self, **job_filter: Unpack[JobFilter]) -> BulkCount:
        """Delete the terminal jobs that match."""
        return await self._run(jobs.bulk("delete", job_filter))

    async def run_all_now(self, **job_filter: Unpack[JobFilter]) -> BulkCount:
        """End the delay of the delayed jobs that match, and the backoff of those that wait for their next attempt."""
        return await self._run(jobs.bulk("run", job_filter))

    # -- carrying

    async def _heard(self, listener: Listener) -> AsyncGenerator[JobEvent, None]:
        while True:
            await asyncio.sleep(listener.pause_s)
            request = await self._hooks.before_async(listener.request())
            async with aclosing(self._stream(request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Answer):
                        await self._hooks.after_async(request, piece)
                    for event in listener.take(piece):
                        yield event
                    if listener.over:
                        break
            if listener.over:
                return
            listener.ended()

    async def _run(self, steps: Steps[T], *, reads_for_s: float | None = None, watch: Watch | None = None) -> T:
        steps = persistent(steps, reads_for_s=self._retry_reads_for_s if reads_for_s is None else reads_for_s)
        try:
            request = next(steps)
            while True:
                if request.after_s:
                    await asyncio.sleep(request.after_s)
                request = await self._hooks.before_async(request)
                try:
                    answer = await self._send(request)
                except NoAnswer as failure:
                    request = steps.throw(failure)
                else:
                    await self._hooks.after_async(request, answer)
                    request = steps.send(answer)
                if watch is not None:
                    await watch.tell_async()
        except StopIteration as end:
            result: T = end.value
            return result

    async def _send(self, request: Request) -> Answer:
        if self._transport is not None:
            return await self._stood_in(self._transport, request)
        try:
            async with await self._ask(request) as answer:
                if request.save_to is None or answer.status != 200:
                    return await _read(answer)
                with whole_file(request.save_to) as file:
                    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                        await asyncio.to_thread(file.write, chunk)
                return Answer(answer.status, _names(answer), b"")
        except (aiohttp.ClientError, TimeoutError, EndlessAnswer) as error:
            raise no_answer(request, self._address.name, error, unsent=_unsent(error)) from error

    async def _stream(self, request: Request) -> AsyncGenerator[Answer | NoAnswer | bytes, None]:
        """Yield the head of a stream of events and its chunks; or the answer or failure that came in its place."""
        if self._transport is not None:
            try:
                answer = await self._stood_in(self._transport, request)
            except NoAnswer as failure:
                yield failure
            else:
                yield answer
                yield answer.body
            return
        opened = False
        try:
            async with await self._ask(request) as response:
                if not is_stream(response.status, response.content_type):
                    yield await _read(response)
                    return
                yield Answer(response.status, _names(response), b"")
                opened = True
                async for chunk in response.content.iter_any():
                    yield chunk
        except (aiohttp.ClientError, TimeoutError, EndlessAnswer) as error:
            if not opened:
                yield no_answer(request, self._address.name, error, unsent=_unsent(error))

    async def _stood_in(self, transport: Transport, request: Request) -> Answer:
        whole = request.with_headers({**self._address.headers, **request.headers})
        try:
            answer = await awaited(transport(whole))
        except (OSError, EOFError) as error:
            unsent = isinstance(error, ConnectionRefusedError)
            raise no_answer(request, self._address.name, error, unsent=unsent) from error
        return stood_in(request, answer)

    async def _ask(self, request: Request) -> aiohttp.client._RequestContextManager:
        session = await self._sessions.of_this_loop()
        headers, body = framed(request)
        silent_s = self._timeout_s + request.quiet_s
        return session.request(
            request.method,
            URL(self._address.url + request.target, encoded=True),
            headers=headers,
            data=_read_in_thread(body) if isinstance(body, Iterator) else body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._timeout_s, sock_read=silent_s),
        )


def _names(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


async def _read(answer: aiohttp.ClientResponse) -> Answer:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > wire.ANSWER_BYTES_MAX:
            raise EndlessAnswer
    return Answer(answer.status, _names(answer), bytes(body))


def _unsent(error: Exception) -> bool:
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


async def _read_in_thread(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk
