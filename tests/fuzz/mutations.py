"""Inputs for the parsers: those of the corpus, joined, cut, and changed."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.kept import corpus_of
from tests.fuzz.targets import issued

WORDS = {
    "json": [
        *(
            b'{"type":"t","args":',
            b'{"jobs":[',
            b'"\\ud83d',
            b"\\u0000",
            b"1e400",
            b"18446744073709551616",
            b'"',
            b"\\",
        ),
        *(b"[" * 31, b"]" * 31),
    ],
    "ids": [text.encode() for text in issued()],
    "multipart": [
        *(b"--xyz", b"\r\n--xyz", b"--xyz--", b"\r\n\r\n", b'; filename="', b"%22"),
        *(b"Content-Disposition: form-data; name=", b'Content-Disposition: form-data; name="a"'),
    ],
    "config": [
        *(b"server:", b"limits:", b"queues:", b"\n  ", b"&a ", b"*a", b"<<: ", b"!!", b"---\n", b"1MiB", b"%YAML"),
        *(b"\xef\xbb\xbf", b"caller_rate: 1/s"),
    ],
}


def inputs(target: str) -> st.SearchStrategy[bytes]:
    """Return the strategy of a target."""
    piece = st.sampled_from(WORDS[target]) | st.binary(max_size=6)
    known = st.sampled_from(corpus_of(target))
    return known | st.binary(max_size=60) | st.lists(piece, max_size=12).map(b"".join) | changed(known, piece)


@st.composite
def changed(draw: st.DrawFn, known: st.SearchStrategy[bytes], piece: st.SearchStrategy[bytes]) -> bytes:
    """Draw an input with a few places replaced, removed, doubled, or moved to."""
    data = draw(known)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        cut = data[start:end]
        data = data[:start] + draw(st.just(cut * 2) | piece) + data[end:]
    if draw(st.booleans()):
        other = draw(known)
        data = data[: draw(st.integers(0, len(data)))] + other[draw(st.integers(0, len(other))) :]
    return data
