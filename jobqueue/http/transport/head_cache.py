"""The head cache: request heads that the parser has accepted before, matched byte for byte.

A client's reads differ only in the job's id, and its submissions only in the body, while parsing the head is most of a
plain request's cost. `connection` asks the cache only while the parser is at rest.

Rules:

1. A match covers all received bytes, and equals byte for byte a request that the parser and the fast path have
   accepted, but for the id of a read (22 characters of the ids' alphabet, without a special meaning to a parser),
   and the body of a submission (of exactly the head's Content-Length).
2. So only requests are cached that were received whole, in one piece and with no other bytes, and that the fast path
   has answered.
3. Each header of a cached head is known not to change the response, or is part of the entry (an entity
   tag, the body's length). None of them has another value in each request: such heads would never match.
4. There are at most `HEADS_MAX` heads of `HEAD_BYTES_MAX` bytes. The cache is cleared when full: active clients
   repopulate it with one request each, and filling it with junk costs one request per entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.ids import ID_LENGTH
from jobqueue.http.response.reply import ANY_TAG, NO_TAGS, opaque_tags

if TYPE_CHECKING:
    from aiohttp.http_parser import RawRequestMessage

HEADS_MAX = 1024
HEAD_BYTES_MAX = 512

_HEAD, _GET, _POST = b"HEAD /v1/jobs/", b"GET /v1/jobs/", b"POST /v1/jobs "
_H, _G = _HEAD[0], _GET[0]
_HEAD_ID, _GET_ID, _POST_LENGTH = len(_HEAD), len(_GET), len(_POST)
_HEAD_REST, _GET_REST = _HEAD_ID + ID_LENGTH, _GET_ID + ID_LENGTH
_END = b"\r\n\r\n"

# Authorization is not among them: the cache must not bypass a check of the caller. Nor are Origin and
# Sec-Fetch-Site. Host is: the fast path has checked it, and the policy of hosts does not change while the server runs.
_HARMLESS = frozenset(
    {b"host", b"connection", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"cache-control"}
)
_OF_LOOKS = _HARMLESS | {b"if-none-match"}
_OF_SUBMISSIONS = _HARMLESS | {b"content-type", b"content-length"}


class HeadCache:
    """The cached heads of all connections of a server."""

    def __init__(self) -> None:
        # The rest of a head after the id, and the entity tags that it names.
        self._looks: dict[bytes, tuple[str, ...]] = {}
        # A whole head without the empty line at its end, and its Content-Length.
        self._submissions: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._looks) + len(self._submissions)

    def look(self, data: bytes) -> tuple[str, bool, tuple[str, ...]] | None:
        """Match a read: its id, whether it is a HEAD, and the entity tags that it names; None: not cached.

        The id is not validated: without a job of this id the caller must check it before it answers.
        """
        if not data:
            return None
        first = data[0]  # distinguishes methods at a fraction of a slice's cost
        if first == _H and data[:_HEAD_ID] == _HEAD:
            tags = self._looks.get(data[_HEAD_REST:])
            return None if tags is None else (data[_HEAD_ID:_HEAD_REST].decode("latin-1"), True, tags)
        if first == _G and data[:_GET_ID] == _GET:
            tags = self._looks.get(data[_GET_REST:])
            return None if tags is None else (data[_GET_ID:_GET_REST].decode("latin-1"), False, tags)
        return None

    def submission(self, data: bytes) -> bytes | None:
        """Return the body of a submission with a cached head; None: not cached, or not complete."""
        if data[:_POST_LENGTH] != _POST:
            return None
        head, _, body = data.partition(_END)
        return body if self._submissions.get(head) == len(body) else None

    def learn(self, data: bytes, message: RawRequestMessage, head_bytes: int) -> None:
        """Cache the head of a request that the fast path has answered, if it may be cached.

        Args:
            data: The whole request, and nothing else.
            message: Its parsed head.
            head_bytes: The length of its head.
        """
        submitted = data[:_POST_LENGTH] == _POST
        allowed = _OF_SUBMISSIONS if submitted else _OF_LOOKS
        for name, _ in message.raw_headers:
            if name.lower() not in allowed:
                return
        if head_bytes > HEAD_BYTES_MAX:
            return
        if submitted:
            self._make_room()
            self._submissions[data[: head_bytes - len(_END)]] = len(data) - head_bytes
            return
        rest = _GET_REST if data[:_GET_ID] == _GET else _HEAD_REST if data[:_HEAD_ID] == _HEAD else None
        tags = known_tags(message)
        if rest is not None and len(tags) <= 1 and tags is not ANY_TAG:
            self._make_room()
            self._looks[data[rest:]] = tags

    def _make_room(self) -> None:
        if len(self) >= HEADS_MAX:
            self._looks.clear()
            self._submissions.clear()


def known_tags(message: RawRequestMessage) -> tuple[str, ...]:
    """Return the entity tags that the If-None-Match of a request names."""
    given = message.headers.getall("If-None-Match", None)
    return NO_TAGS if given is None else opaque_tags(given)
