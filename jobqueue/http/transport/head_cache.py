"""Learned heads: requests whose head the parser has accepted before, so that it need not read it again.

A client's looks differ in the job's id alone, and its submissions in the body, while reading a head is most of what a
plain request costs. It owns which heads are learned, how they are recognised, and the bounds on them. It must not know
what is answered, nor connections: `connection` asks only where a request may begin, with nothing of it fed to the
parser.

Rules:

1. What is recalled is the whole of what came, and byte for byte a request that the parser and the fast path have
   accepted, but for the id of a look (22 characters of the ids' alphabet, which no parser takes for anything else),
   and the body of a submission (of exactly the length that the head tells).
2. So only requests are learned that came whole, in one piece and with nothing else, and that the fast path has
answered.
3. Each header of a learned head is known to change nothing of the answer, or is part of what is learned (an entity
   tag, the body's length). None of them has another value in each request: heads that never come again are no use.
4. There are at most `HEADS_MAX` heads of `HEAD_BYTES_MAX` bytes. When there is no room all are forgotten: who is there
   is learned again by its next request, and who fills the table with rubbish pays with as many requests.
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

# Authorization is not among them: nothing here may be recalled past a check of the caller. Nor are Origin and
# Sec-Fetch-Site. Host is: the fast path has judged it, and the policy of hosts does not change while the server runs.
_HARMLESS = frozenset(
    {b"host", b"connection", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"cache-control"}
)
_OF_LOOKS = _HARMLESS | {b"if-none-match"}
_OF_SUBMISSIONS = _HARMLESS | {b"content-type", b"content-length"}


class HeadCache:
    """The heads that a server has learned, for all of its connections."""

    def __init__(self) -> None:
        # What follows the id, up to the end of the head, and the entity tags that it names.
        self._looks: dict[bytes, tuple[str, ...]] = {}
        # A whole head without the empty line at its end, and its Content-Length.
        self._submissions: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._looks) + len(self._submissions)

    def look(self, data: bytes) -> tuple[str, bool, tuple[str, ...]] | None:
        """Recall a look: its id, whether it is a HEAD, and the entity tags that it names; None: not learned.

        The id is whatever stands in its place. Who finds no job under it must have it checked before saying so.
        """
        if not data:
            return None
        first = data[0]  # tells methods apart at a fraction of what a slice costs
        if first == _H and data[:_HEAD_ID] == _HEAD:
            tags = self._looks.get(data[_HEAD_REST:])
            return None if tags is None else (data[_HEAD_ID:_HEAD_REST].decode("latin-1"), True, tags)
        if first == _G and data[:_GET_ID] == _GET:
            tags = self._looks.get(data[_GET_REST:])
            return None if tags is None else (data[_GET_ID:_GET_REST].decode("latin-1"), False, tags)
        return None

    def submission(self, data: bytes) -> bytes | None:
        """Recall a submission: its body; None: not learned, or not all of it is there."""
        if data[:_POST_LENGTH] != _POST:
            return None
        head, _, body = data.partition(_END)
        return body if self._submissions.get(head) == len(body) else None

    def learn(self, data: bytes, message: RawRequestMessage, head_bytes: int) -> None:
        """Learn the head of a request that the fast path has answered, if it is one to be learned.

        Args:
            data: The whole request, and nothing else.
            message: What the parser made of its head.
            head_bytes: Where its head ends.
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
