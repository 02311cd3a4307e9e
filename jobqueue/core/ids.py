"""Job ids: short, unguessable, in the order of issue, verifiable without memory.

An id is 22 characters of an alphabet that sorts as it counts:

    rrr sssssss tttttttttt cc
    |   |       |          `-- check: 12 bits of a CRC over the rest, the same in every run
    |   |       `------------- tag: 60 bits that only this run's secret can make
    |   `--------------------- sequence: 42 bits, counted on from 000000-
    `------------------------- run: 18 bits, drawn at each start

Nothing about an issued id is kept. The tag proves that this run issued it; the check distinguishes an id of an earlier
run from noise (one random text in 4,096 passes). The check of a job with an owner is a hash over the rest and the
owner's name, so that of a gone id only its owner is told that it was issued (and by mistake one other name of 4,096).
The tags of 64 neighbours come from one hash, and their ids are made together, so an id costs well under half a
microsecond.

With a journal a run goes on in the next process, by its secret and its `position`: `SKIPPED` blocks further on, since
ids of the last moments may have been given out without a record that survived. Ids in between count as issued.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from binascii import b2a_base64, crc32
from enum import Enum
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.job import JobId

# ASCII order, so that ids compare as their sequence numbers do.
ALPHABET: Final = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
ID_LENGTH: Final = 22
ID_PAGE_SIZE: Final = 4096
ID_PAGE_PREFIX_LENGTH: Final = 8

_RUN_LENGTH: Final = 3
_SEQUENCE_LENGTH: Final = 7
_TAG_LENGTH: Final = 10
_POSITION_LENGTH: Final = _RUN_LENGTH + _SEQUENCE_LENGTH
_CHECKED_LENGTH: Final = _RUN_LENGTH + _SEQUENCE_LENGTH + _TAG_LENGTH
_BLOCK_SIZE: Final = 64
SKIPPED: Final = 16384
"""Blocks of ids that a process skips where it goes on with the run of an earlier one.

A million ids: more than a disk that stalls may leave unsynced.
"""

_TAG_BYTES: Final = _BLOCK_SIZE * _TAG_LENGTH * 6 // 8
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_ALPHABET: Final = bytes.maketrans(_BASE64, ALPHABET.encode())
_VALUE: Final = {character: value for value, character in enumerate(ALPHABET)}
_DIGITS: Final = tuple(bytes([character]) for character in ALPHABET.encode())
# Of each id of a block: its last digit of the sequence, and where its tag begins among theirs.
_PLACES: Final = tuple((digit, place * _TAG_LENGTH) for place, digit in enumerate(_DIGITS))
_CHECKS: Final = tuple(a + b for a in _DIGITS for b in _DIGITS)

OWNER_HASHES_MAX: Final = 1024

_owner_hashes: dict[str, tuple[int, int]] = {}


is_well_formed: Final = re.compile(rf"[-0-9A-Z_a-z]{{{ID_LENGTH}}}").fullmatch
"""Return a match (true) if a text has the length and the alphabet of an id, and None otherwise."""

RUNS: Final = range(64**2, 64**_RUN_LENGTH)
"""The run numbers to draw from: ids must not begin with a dash, as a command's flag does."""


def cursor_at(job_id: str, oldest_first: bool = False) -> str:
    """Return a text that sorts just before an id and after all earlier ones, and that is no id: it has no tag.

    A page may end at a record that is not shown.

    Args:
        oldest_first: It sorts just after the id, and before all later ones.
    """
    return job_id[:_POSITION_LENGTH].ljust(ID_LENGTH, ALPHABET[-1 if oldest_first else 0])


def is_cursor(text: str, oldest_first: bool) -> bool:
    """Whether a text may be a cursor of this order: it isn't one of the other."""
    other = ALPHABET[0 if oldest_first else -1] * (ID_LENGTH - _POSITION_LENGTH)
    return is_well_formed(text) is not None and text[_POSITION_LENGTH:] != other


class Origin(Enum):
    """Origin of an id without a record."""

    THIS_RUN = "this-run"
    EARLIER_RUN = "earlier-run"
    NEVER = "never"


class IdIssuer:
    """Issues the ids of one run, and verifies its own and those of earlier runs.

    Args:
        secret: At least 16 random bytes, drawn for this run and never disclosed.
        run: Drawn from `RUNS`. Two successive runs that draw the same one
            (about 1 in 258,000) can't recognise each other's ids.
    """

    __slots__ = ("_block", "_has_owners", "_run", "_secret", "_to_come")

    def __init__(self, *, secret: bytes, run: int) -> None:
        if len(secret) < 16:
            raise ValueError(f"the secret of job ids needs at least 16 bytes, got {len(secret)}")
        if run not in RUNS:
            raise ValueError(f"the run of job ids is in {RUNS}, got {run}")
        self._secret = secret
        self._run = _digits(run, _RUN_LENGTH)
        # The first call opens the first block.
        self._block = _FIRST_BLOCK - 1
        # The ids of `_block` that are yet to be issued, the next one last.
        self._to_come: list[JobId] = []
        self._has_owners = False

    @property
    def run(self) -> str:
        """The first characters of each id of this run."""
        return self._run

    @property
    def position(self) -> str:
        """A text that sorts after all ids that this run has issued, and before all others."""
        if self._to_come:
            return self._to_come[-1][:_POSITION_LENGTH]
        return self._run + _digits((self._block + 1) * _BLOCK_SIZE, _SEQUENCE_LENGTH)

    @property
    def has_owners(self) -> bool:
        """Whether it has issued the id of a job with an owner."""
        return self._has_owners

    def go_on(self, position: str, *, has_owners: bool) -> None:
        """Go on with the run of an earlier process, before the first id is issued here.

        Args:
            position: Where that process has left it, at least: its `position`, or one of its ids.
            has_owners: Whether that process has issued ids with owners.

        Raises:
            ValueError: The position is of another run.
        """
        if not position.startswith(self._run) or len(position) < _POSITION_LENGTH:
            raise ValueError(f"a position of the run {self._run!r} begins with it, got {position!r}")
        self._block = _number(position[_RUN_LENGTH:_POSITION_LENGTH]) // _BLOCK_SIZE + SKIPPED
        self._to_come.clear()
        self._has_owners |= has_owners

    def issue(self, owner: str | None = None) -> JobId:
        """Return the next id, of a job with this owner."""
        if not self._to_come:
            self._block += 1
            self._to_come = _assemble(self._head_of(self._block), self._tags_of(self._block), _PLACES)
            self._to_come.reverse()
        job_id = self._to_come.pop()
        if owner is None:
            return job_id
        self._has_owners = True
        checked = job_id[:_CHECKED_LENGTH]
        return cast("JobId", checked + _check(checked, owner))

    def origin(self, text: str, owner: str | None = None) -> Origin:
        """Return where an id comes from, by its tag and check alone.

        Args:
            owner: For others than the id's owner it was never issued; None: for all owners.
        """
        if not is_well_formed(text):
            return Origin.NEVER
        if not text.startswith(self._run):
            has_check = _check(text[:_CHECKED_LENGTH], owner) == text[_CHECKED_LENGTH:]
            return Origin.EARLIER_RUN if has_check else Origin.NEVER
        # Both parts are compared in any case, so that the time doesn't tell which one is wrong.
        is_own = _has_check(text, owner) or (owner is None and self._has_owners)
        return Origin.THIS_RUN if self._has_tag(text) and is_own else Origin.NEVER

    def may_have_issued(self, text: str, owner: str | None = None) -> bool:
        """Whether an id of this run was made with its secret, maybe by another issuer, or later than all of this one.

        Args:
            text: Well-formed, and of this run.
            owner: That of its job; None: any owner.
        """
        is_own = owner is None or _has_check(text, owner)
        block, place = _place_of(text)
        return self._is_tag_of(text, block, place) and is_own

    def _has_tag(self, text: str) -> bool:
        """Whether this run has issued an id, by its tag."""
        block, place = _place_of(text)
        if block < _FIRST_BLOCK or (block, place) >= (self._block, _BLOCK_SIZE - len(self._to_come)):
            return False
        return self._is_tag_of(text, block, place)

    def _is_tag_of(self, text: str, block: int, place: int) -> bool:
        (expected,) = _assemble(self._head_of(block), self._tags_of(block), (_PLACES[place],))
        # Compared in constant time, against timing attacks on the tag.
        return hmac.compare_digest(expected[:_CHECKED_LENGTH], text[:_CHECKED_LENGTH])

    def _head_of(self, block: int) -> bytes:
        """Return the common prefix of a block's ids."""
        return (self._run + _digits(block, _SEQUENCE_LENGTH - 1)).encode("ascii")

    def _tags_of(self, block: int) -> bytes:
        digest = hashlib.shake_128(self._secret + block.to_bytes(8, "big")).digest(_TAG_BYTES)
        return b2a_base64(digest, newline=False).translate(_TO_ALPHABET)


def run_of(text: str) -> int | None:
    """Return the number of the run of an id; None: it is none."""
    return None if is_well_formed(text) is None else _number(text[:_RUN_LENGTH])


def has_check(text: str, owner: str | None = None) -> bool:
    """Whether the check of a well-formed text is that of an id with this owner."""
    return _has_check(text, owner)


def _place_of(text: str) -> tuple[int, int]:
    """Return the block of an id, and its place there."""
    return divmod(_number(text[_RUN_LENGTH : _RUN_LENGTH + _SEQUENCE_LENGTH]), _BLOCK_SIZE)


def _assemble(head: bytes, tags: bytes, places: Sequence[tuple[bytes, int]]) -> list[JobId]:
    """Return ids of one block."""
    head_crc = crc32(head)  # those of the ids go on from it
    ids = [
        (head + (rest := digit + tags[start : start + _TAG_LENGTH]) + _CHECKS[crc32(rest, head_crc) & 0xFFF]).decode()
        for digit, start in places
    ]
    return cast("list[JobId]", ids)  # a call of JobId for each would take a sixth of the time


def _has_check(text: str, owner: str | None) -> bool:
    return hmac.compare_digest(_check(text[:_CHECKED_LENGTH], owner), text[_CHECKED_LENGTH:])


def _check(checked: str, owner: str | None = None) -> str:
    number = crc32(checked.encode("ascii"))
    if owner is not None:  # not linear in the CRC: for some pairs of names the checks of all ids would be the same
        mask, factor = _owner_hash(owner)
        number = (number ^ mask) * factor >> 20
    return _CHECKS[number & 0xFFF].decode("ascii")


def _owner_hash(owner: str) -> tuple[int, int]:
    """Return a mask and an odd factor of 32 bits, by a hash of the name."""
    known = _owner_hashes.get(owner)
    if known is None:
        if len(_owner_hashes) >= OWNER_HASHES_MAX:
            _owner_hashes.clear()
        digest = hashlib.blake2b(owner.encode(), digest_size=8).digest()
        known = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big") | 1
        _owner_hashes[owner] = known
    return known


def _digits(number: int, length: int) -> str:
    out = []
    for _ in range(length):
        number, digit = divmod(number, 64)
        out.append(ALPHABET[digit])
    return "".join(reversed(out))


def _number(digits: str) -> int:
    number = 0
    for character in digits:
        number = number * 64 + _VALUE[character]
    return number


_FIRST_BLOCK: Final = _number("0" * (_SEQUENCE_LENGTH - 1))  # ids begin with digits, not with a row of dashes
