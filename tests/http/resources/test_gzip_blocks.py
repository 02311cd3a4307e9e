"""Blocks of gzip: every body comes back, and texts beside numbers take fewer bytes than zlib's own blocks do."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest

from jobqueue.http.resources.gzip_blocks import STEP_BYTES, gzipped

RNG = random.Random(5)
WORDS = " ".join(RNG.choice(("queue", "worker", "lease", "attempt", "retry")) for _ in range(8000)).encode()
NUMBERS = " ".join(str(RNG.randrange(10**6)) for _ in range(8000)).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a",
        WORDS,
        NUMBERS,
        WORDS[: STEP_BYTES - 1],
        WORDS[:STEP_BYTES],
        WORDS[: STEP_BYTES + 1],
        RNG.randbytes(10**5),
    ],
    ids=len,
)
def test_each_body_comes_back(body: bytes) -> None:
    assert gzip.decompress(gzipped(body)) == body


def test_a_block_ends_where_another_kind_of_text_begins() -> None:
    body = WORDS + NUMBERS
    compressor = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS, 9)
    assert len(gzipped(body)) < len(compressor.compress(body) + compressor.flush())
