"""Long responses: made and written in pieces, as the client reads them, so that they don't wait in memory.

Rules:

1. A response of more than `WHOLE_BYTES_MAX` is never whole in memory: the next piece is made once the one before has
   been sent. A shorter one is, and its unsent bytes count in the in-flight budget.
2. A long response holds ids, not jobs: a record may be evicted meanwhile, and its memory is free then. If the record of
   a response under way is gone, the connection is cut, since a status code has been sent already.
3. A GET with a response over `SMALL_BYTES` is rejected (503) while the in-flight budget has no room for a piece. A
   request with an effect (a submission) is answered: the client would repeat it.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from jobqueue.errors import JobGone, JobNotFound, Overloaded
from jobqueue.http.cut import cut
from jobqueue.http.in_flight import IN_FLIGHT, SMALL_BYTES
from jobqueue.http.response.reply import RESULT_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from aiohttp.abc import AbstractStreamWriter

    from jobqueue.http.in_flight import Share
    from jobqueue.service import Service

WHOLE_BYTES_MAX = RESULT_BYTES_MAX
PIECE_BYTES = 64 * 1024
NO_ROOM_RETRY_AFTER_S = 1.0

_SAFE = (hdrs.METH_GET, hdrs.METH_HEAD)

NO_RESULT = b'"result":null'
"""A document without a result; no text in it can match, since quotes are escaped there."""


def whole_answer(
    request: web.BaseRequest, body: bytes, headers: Mapping[str, str], *, status: int = 200
) -> web.StreamResponse:
    """Answer with a JSON document and a line break. Raises Overloaded if too many bytes of answers are unsent."""
    size_bytes = len(body)
    if size_bytes <= SMALL_BYTES:
        return web.Response(status=status, body=b"%b\n" % body, headers=headers)
    pieces = _slices(body)
    return LongResponse(request, pieces, headers, status=status, size_bytes=size_bytes, held_bytes=size_bytes)


class LongResponse(web.StreamResponse):
    """A response in pieces, which aiohttp sends once the request's handler has returned.

    Args:
        pieces: Makes them; a line break follows.
        size_bytes: The length of all pieces; None: not known before they are made.
        held_bytes: Bytes of it that are in memory at first.

    Raises:
        Overloaded: As `whole_answer`.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        pieces: AsyncGenerator[bytes],
        headers: Mapping[str, str],
        *,
        status: int = 200,
        size_bytes: int | None = None,
        held_bytes: int = 0,
    ) -> None:
        super().__init__(status=status, headers=headers)
        if size_bytes is not None:
            self.content_length = size_bytes + 1
        self._pieces = pieces
        self._held_bytes = held_bytes
        self._share = _share_of(request, max(held_bytes, SMALL_BYTES + 1))
        self._writer: AbstractStreamWriter | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self._for = request
        self._writer = await super().prepare(request)
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Write all pieces, each once the one before was sent."""
        writer, request = self._writer, self._for
        if writer is not None and request.method != hdrs.METH_HEAD:
            try:
                await self._write_pieces(writer, request)
                await self.write(b"\n")
            except (JobGone, JobNotFound):
                if request.transport is not None:
                    cut(request.transport)
                raise ConnectionResetError("a record was evicted while it was sent") from None
        await super().write_eof(data)

    async def _write_pieces(self, writer: AbstractStreamWriter, request: web.BaseRequest) -> None:
        share, held_bytes = self._share, self._held_bytes
        try:
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    if share is not None:
                        share.hold(held_bytes)
                    await self.write(piece)
                    await writer.drain()
                    if request.transport is None:  # lost during the drain
                        raise ConnectionResetError
                    held_bytes = max(0, held_bytes - len(piece))
        finally:
            if share is not None:
                share.close()


def _share_of(request: web.BaseRequest, size_bytes: int) -> Share | None:
    """Return an empty share for a response of a size; None: it is not counted.

    Raises:
        Overloaded: There is no room, and the request may be rejected.
    """
    budget = request.config_dict.get(IN_FLIGHT) if isinstance(request, web.Request) else None
    if budget is None:
        return None

    def stop() -> bool:
        if request.transport is not None:
            cut(request.transport)
        return True

    share: Share = budget.share(stop)
    if request.method in _SAFE and not share.take(size_bytes):
        raise Overloaded("too many long answers are being read at the same time", retry_after_s=NO_ROOM_RETRY_AFTER_S)
    share.close()
    return share


async def _slices(body: bytes) -> AsyncGenerator[bytes]:
    for at in range(0, len(body), PIECE_BYTES):
        yield body[at : at + PIECE_BYTES]


async def document_pieces(service: Service, document: bytes, job_id: str, size_bytes: int) -> AsyncGenerator[bytes]:
    """Yield a job's document with its result, of `size_bytes`, which `document` lacks."""
    head, name, tail = document.partition(NO_RESULT)
    yield head + name[: -len(b"null")]
    async for piece in result_pieces(service, job_id, size_bytes):
        yield piece
    yield tail


async def result_pieces(service: Service, job_id: str, size_bytes: int) -> AsyncGenerator[bytes]:
    """Yield a job's result while its record is held. Raises JobGone if it isn't any more."""
    for at in range(0, size_bytes, PIECE_BYTES):
        result = (await service.backend.get(job_id)).result
        if result is None or len(result) != size_bytes:
            raise JobGone("evicted")
        piece = result[at : at + PIECE_BYTES]
        del result  # or it would be held until the piece is sent
        yield piece
