"""The head cache: request heads that the parser has accepted before, matched byte for byte.

A client's reads differ only in the job's id, and its submissions only in the body and the Idempotency-Key, while
parsing the head is most of a plain request's cost. `connection` asks the cache only while the parser is at rest.

Rules:

1. A match covers all received bytes, and equals byte for byte a request that the parser and the fast path have
   accepted, but for the id of a read (22 characters of the ids' alphabet, without a special meaning to a parser),
   the body of a submission (of exactly the head's Content-Length), and the value of its Idempotency-Key (which the fast
   path checks: printable ASCII, without a special meaning either).
2. So only requests are cached that were received whole, in one piece and with no other bytes, and that the fast path
   has answered.
3. Each header of a cached head is known not to change the response, or is part of the entry (an entity
   tag, the body's length, a wait, what an API key grants). None of them has another value in each request, or such
   heads would never match; the Idempotency-Key is cut out of the entry.
4. There are at most `HEADS_MAX` heads of `HEAD_BYTES_MAX` bytes. The cache is cleared when full: active clients
   repopulate it with one request each, and filling it with junk costs one request per entry.
5. The grant of a cached head is that of its Authorization, checked when the head was cached. When the keys change, the
   cache is cleared (`clear`). Heads are found by their hash, under a seed of the process, so the time of a lookup tells
   nothing about the keys in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from jobqueue.core.ids import ID_LENGTH
from jobqueue.http.request.prefer import preferred_wait_s
from jobqueue.http.response.reply import ANY_TAG, NO_TAGS, opaque_tags

if TYPE_CHECKING:
    from jobqueue.core.job import Uniqueness
    from jobqueue.http.request.grant import Grant
    from jobqueue.http.transport.parsed_head import ParsedHead

HEADS_MAX = 1024
HEAD_BYTES_MAX: Final = 512

_HEAD: Final = b"HEAD /v1/jobs/"
_GET: Final = b"GET /v1/jobs/"
_POST: Final = b"POST /v1/jobs "
_H: Final = _HEAD[0]
_G: Final = _GET[0]
_POST_LENGTH: Final = len(_POST)
HEAD_ID: Final = len(_HEAD)
HEAD_REST: Final = HEAD_ID + ID_LENGTH
GET_ID: Final = len(_GET)
GET_REST: Final = GET_ID + ID_LENGTH
"""Where a read that `HeadCache.look` has matched has its id. No slices: mypyc takes one in a variable for an int."""

_END: Final = b"\r\n\r\n"
_PREFER: Final = b"prefer"
_KEY: Final = b"idempotency-key"
_KEY_PART: Final = b"dempotency-"
"""What is searched for: heads with another spelling than `Idempotency-Key` and `idempotency-key` are parsed."""

# Authorization is among them: its grant is part of the entry. Origin and Sec-Fetch-Site are not. Host is: the fast path
# has checked it, and the policy of hosts does not change while the server runs.
_HARMLESS: Final = frozenset(
    {
        *(b"host", b"connection", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"cache-control"),
        b"authorization",
    }
)
_OF_LOOKS: Final = _HARMLESS | {b"if-none-match"}
_OF_SUBMISSIONS: Final = _HARMLESS | {b"content-type", b"content-length"}


@final
class WaitHead:
    """The head of a request that prefers to wait.

    Attributes:
        lines: Its header lines, up to the empty one, `HEAD_BYTES_MAX` at most: all that is held of a waiting request.
        wait_s: Seconds of `Prefer: wait`.
        tags: The entity tags that it names.
        length_bytes: The length of its body.
        grant: Of its key.
    """

    __slots__ = ("grant", "length_bytes", "lines", "tags", "wait_s")

    def __init__(self, lines: bytes, wait_s: int, tags: tuple[str, ...], length_bytes: int, grant: Grant) -> None:
        self.lines = lines
        self.wait_s = wait_s
        self.tags = tags
        self.length_bytes = length_bytes
        self.grant = grant


Look = tuple[tuple[str, ...], str | None]
"""A cached read: its entity tags, and the owner of the jobs that it sees."""

_Submission = tuple[int, "Uniqueness | None", WaitHead | None]
"""A cached submission: its Content-Length, the identity of its API key, and its wait."""


def wait_head_of(message: ParsedHead, grant: Grant, length_bytes: int = 0) -> WaitHead | None:
    """Return the head of a parsed request that prefers to wait; None: it doesn't, or is too long to be held."""
    wait_s = preferred_wait_s(message.headers)
    if wait_s is None:
        return None
    # Without the Idempotency-Key: it is read before the wait begins.
    lines = b"".join([b"%b: %b\r\n" % header for header in message.raw_headers if header[0].lower() != _KEY]) + b"\r\n"
    if len(lines) > HEAD_BYTES_MAX:
        return None
    tags = NO_TAGS if message.method == "POST" else known_tags(message)
    return WaitHead(lines, wait_s, tags, length_bytes, grant)


class HeadCache:
    """The cached heads of all connections of a server."""

    def __init__(self) -> None:
        # By the rest of a head after the id.
        self._looks: dict[bytes, Look] = {}
        # Those with a wait, under the same keys, and apart from them: a wait's answer comes later.
        self._waits: dict[bytes, WaitHead] = {}
        # A whole head without the empty line at its end.
        self._submissions: dict[bytes, _Submission] = {}
        # The same without the value of its Idempotency-Key.
        self._repeatable: dict[bytes, _Submission] = {}

    def __len__(self) -> int:
        return len(self._looks) + len(self._submissions) + len(self._waits) + len(self._repeatable)

    def look(self, data: bytes) -> Look | None:
        """Match a read, a HEAD if its first byte is an H; None: it is not cached.

        Its id (from `HEAD_ID` to `HEAD_REST`, or from `GET_ID` to `GET_REST`) is not validated: without a job of this
        id the caller must check it before it answers.
        """
        if not data:
            return None
        first = data[0]  # distinguishes methods at a fraction of a slice's cost
        if first == _H and data[:HEAD_ID] == _HEAD:
            return self._looks.get(data[HEAD_REST:])
        if first == _G and data[:GET_ID] == _GET:
            return self._looks.get(data[GET_REST:])
        return None

    def submission(self, data: bytes) -> tuple[bytes, Uniqueness | None, WaitHead | None, bytes | None] | None:
        """Match a submission: its body, the identity of its API key, its wait, and its Idempotency-Key.

        The Idempotency-Key is not validated: the caller must check it before it answers.

        Returns None if it is not cached, or not complete.
        """
        if data[:_POST_LENGTH] != _POST:
            return None
        head, _, body = data.partition(_END)
        found, key = self._submissions.get(head), None
        if found is None:
            if not self._repeatable or len(head) > HEAD_BYTES_MAX:
                return None
            begin, end = _key_of(head)
            found, key = self._repeatable.get(head[:begin] + head[end:]), head[begin:end]
        return None if found is None or found[0] != len(body) else (body, found[1], found[2], key)

    def wait(self, data: bytes) -> tuple[WaitHead, bytes] | None:
        """Match a read that prefers to wait: its head, and the id."""
        if not self._waits:
            return None
        if data[:HEAD_ID] == _HEAD:
            head = self._waits.get(data[HEAD_REST:])
            return None if head is None else (head, data[HEAD_ID:HEAD_REST])
        if data[:GET_ID] == _GET:
            head = self._waits.get(data[GET_REST:])
            return None if head is None else (head, data[GET_ID:GET_REST])
        return None

    def learn(self, data: bytes, message: ParsedHead, head_bytes: int, grant: Grant) -> None:
        """Cache the head of a request that the fast path has answered, if it may be cached.

        Args:
            data: The whole request, and nothing else.
            message: Its parsed head.
            head_bytes: The length of its head.
            grant: Of its key.
        """
        submitted = data[:_POST_LENGTH] == _POST
        allowed = _OF_SUBMISSIONS if submitted else _OF_LOOKS
        waits = repeatable = False
        for name, _ in message.raw_headers:
            lower = name.lower()
            if lower == _PREFER:
                waits = True
            elif lower == _KEY and submitted:
                repeatable = True
            elif lower not in allowed:
                return
        if head_bytes > HEAD_BYTES_MAX:
            return
        tags = NO_TAGS
        if submitted:
            key = data[: head_bytes - len(_END)]
        else:
            rest = GET_REST if data[:GET_ID] == _GET else HEAD_REST if data[:HEAD_ID] == _HEAD else None
            tags = known_tags(message)
            if rest is None or len(tags) > 1 or tags is ANY_TAG:
                return
            key = data[rest:]
        self._make_room()
        length_bytes = len(data) - head_bytes
        head = None
        if waits:
            head = wait_head_of(message, grant, length_bytes)
            assert head is not None, "the fast path has answered it"
        if repeatable:
            begin, end = _key_of(key)
            if key[:begin].rpartition(b"\r\n")[2].lower() == _KEY + b":":
                self._repeatable[key[:begin] + key[end:]] = length_bytes, grant.uniqueness, head
        elif submitted:
            self._submissions[key] = length_bytes, grant.uniqueness, head
        elif head is not None:
            self._waits[key] = head
        else:
            self._looks[key] = tags, grant.sees

    def clear(self) -> None:
        """Forget all heads."""
        self._looks.clear()
        self._submissions.clear()
        self._waits.clear()
        self._repeatable.clear()

    def _make_room(self) -> None:
        if len(self) >= HEADS_MAX:
            self.clear()


def _key_of(head: bytes) -> tuple[int, int]:
    """Return where the value of the Idempotency-Key begins and ends; it is empty if there is no such header.

    The value's bytes have no part in it, so heads that differ in them alone are split alike.
    """
    at = head.find(_KEY_PART)
    begin = head.find(b":", at) + 1 if at >= 0 else 0
    if not begin:
        return 0, 0
    end = head.find(b"\r\n", begin)
    return begin, len(head) if end < 0 else end


def known_tags(message: ParsedHead) -> tuple[str, ...]:
    """Return the entity tags that the If-None-Match of a request names."""
    given = message.headers.getall("If-None-Match", None)
    return NO_TAGS if given is None else opaque_tags(given)
