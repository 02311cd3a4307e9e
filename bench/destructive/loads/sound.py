"""Sound: WAV files of any length, made from one second that repeats."""

from __future__ import annotations

import math
import struct
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE = 16_000
BYTES_PER_S = 2 * RATE


def wav_head(seconds: int, rate: int = RATE) -> bytes:
    """Return the 44 bytes before the samples: PCM, one channel, 16 bits."""
    size = 2 * rate * seconds
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size
    )


def second(rate: int = RATE) -> bytes:
    """Return the samples of one second: three tones."""
    tones = ((440.0, 0.4), (1250.0, 0.3), (3100.0, 0.2))
    samples = (
        sum(share * math.sin(2 * math.pi * hertz * number / rate) for hertz, share in tones) for number in range(rate)
    )
    return array("h", (round(32767 * sample) for sample in samples)).tobytes()


def wav(seconds: int, rate: int = RATE) -> Iterator[bytes]:
    """Yield a file in pieces: its head, then a second each."""
    yield wav_head(seconds, rate)
    piece = second(rate)
    for _ in range(seconds):
        yield piece
