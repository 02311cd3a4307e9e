"""Transcode audio files: rate, channels and format, in a process, a block at a time.

It needs the `audio` extra (soundfile, soxr, numpy). Serve it with

    python -m jobqueue serve examples/audio.py:queue

and send it a WAV, FLAC or OGG file (whatever libsndfile reads) as the part `audio`:

    curl -F job='{"type":"transcode","args":{"rate":16000}}' -F audio=@speech.wav http://127.0.0.1:8080/v1/jobs
    curl http://127.0.0.1:8080/v1/jobs/ID
    curl -o speech.flac http://127.0.0.1:8080/v1/jobs/ID/result
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from msgspec import Meta

from jobqueue import JobContext, JobQueue, Reject

queue = JobQueue()

Samples = npt.NDArray[np.float32]
"""A block of audio, by frame and channel."""

BLOCK_FRAMES = 1 << 16
CHANNELS_MAX = 8
RATE_MIN, RATE_MAX = 4_000, 192_000
DEEP = {"PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
"""What a file holds in more than 16 bits."""


@queue.handler(run_in="process", timeout_s=3600)
def transcode(
    ctx: JobContext,
    rate: Annotated[int, Meta(ge=RATE_MIN, le=RATE_MAX)] | None = None,
    channels: Literal[1, 2] | None = None,
    format: Literal["wav", "flac", "ogg"] = "flac",
) -> dict[str, Any]:
    """Turn the uploaded file `audio` into the result file; None keeps what the file has."""
    upload = ctx.files.get("audio")
    if upload is None:
        raise Reject("no audio: send the file as the part 'audio' of a multipart form")
    if isinstance(upload, list):
        raise Reject(f"{len(upload)} files are named 'audio', and a job transcodes one: submit a job for each")
    return transcoded(ctx, upload, rate, channels, format)


def transcoded(ctx: JobContext, path: Path, rate: int | None, channels: int | None, format: str) -> dict[str, Any]:
    """Turn a file into the result file of a job.

    Memory does not grow with the file: it is read, mixed, resampled and written in blocks.
    """
    with _opened(path) as source:
        rate = rate or source.samplerate
        channels_out = channels or source.channels
        _check(source, channels_out)
        subtype = "VORBIS" if format == "ogg" else "PCM_24" if source.subtype in DEEP else "PCM_16"
        written = ctx.result_file(f"audio/{format}")
        with soundfile.SoundFile(written, "w", rate, channels_out, subtype, format=format.upper()) as target:
            frames = 0
            for block in _resampled(_mixed(_blocks(ctx, source), channels_out), source.samplerate, rate):
                target.write(block)
                frames += len(block)
    return {"frames": frames, "rate": rate, "channels": channels_out, "duration_s": round(frames / rate, 3)}


def _opened(path: Path) -> soundfile.SoundFile:
    with _rejecting_what_is_no_audio():
        return soundfile.SoundFile(path)


@contextmanager
def _rejecting_what_is_no_audio() -> Iterator[None]:
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise Reject(f"the part 'audio' can't be read as audio: {error.error_string}") from None


def _check(source: soundfile.SoundFile, channels_out: int) -> None:
    if source.channels > CHANNELS_MAX:
        raise Reject(f"{source.channels} channels are too many; at most {CHANNELS_MAX} can be transcoded")
    if channels_out == 2 and source.channels > 2:
        raise Reject(f"{source.channels} channels can be mixed to 1, but not to 2: which is left and which right?")
    if not RATE_MIN <= source.samplerate <= RATE_MAX:
        # Beyond them libsndfile's Vorbis encoder crashes, and a small file may become an enormous one.
        raise Reject(f"{source.samplerate} Hz is not supported: {RATE_MIN} to {RATE_MAX} Hz")


def _blocks(ctx: JobContext, source: soundfile.SoundFile) -> Iterator[Samples]:
    """Read the file, and tell how far it is read."""
    done = 0
    while True:
        with _rejecting_what_is_no_audio():
            block = source.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        if not len(block):
            return
        done += len(block)
        # Files of floats may hold anything; one NaN would spread over all that the resampler looks at.
        yield np.nan_to_num(block, copy=False, posinf=1.0, neginf=-1.0)
        if source.frames:
            ctx.progress(min(1.0, done / source.frames), f"{done / source.samplerate:.0f} s")


def _mixed(blocks: Iterator[Samples], channels: int) -> Iterator[Samples]:
    for block in blocks:
        if block.shape[1] == channels:
            yield block
        elif channels == 1:
            yield block.mean(axis=1, keepdims=True, dtype=np.float32)
        else:
            yield np.repeat(block, channels, axis=1)


def _resampled(blocks: Iterator[Samples], rate_in: int, rate_out: int) -> Iterator[Samples]:
    """Resample. Peaks may overshoot; soundfile has them cut, not wrapped, where they are written as integers."""
    if rate_in == rate_out:
        yield from blocks
        return
    stream: soxr.ResampleStream | None = None
    block = np.empty((0, 1), np.float32)
    for block in blocks:
        stream = stream or soxr.ResampleStream(rate_in, rate_out, block.shape[1], dtype="float32")
        yield stream.resample_chunk(np.ascontiguousarray(block))
    if stream is not None:
        yield stream.resample_chunk(block[:0], last=True)
