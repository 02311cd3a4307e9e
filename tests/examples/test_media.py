"""The media pipeline: real audio goes through upload, three versions, their join and the notice."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from examples import media
from jobqueue.config import RuntimeSettings, Settings, SpoolSettings
from jobqueue.errors import JobFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from jobqueue import JobQueue

RATE, SECONDS = 44_100, 1.5


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[JobQueue]:
    media.queue.configure(
        Settings(runtime=RuntimeSettings(processes=2), spool=SpoolSettings(dir=str(tmp_path / "spool")))
    )
    async with media.queue:
        yield media.queue


def tone(hz: float) -> bytes:
    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(SECONDS * RATE)) / RATE)
    file = io.BytesIO()
    soundfile.write(file, np.column_stack([wave, wave]), RATE, "PCM_16", format="WAV")
    return file.getvalue()


def loudest_hz(samples: np.ndarray[tuple[int], np.dtype[np.float64]], rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * rate / len(samples)


async def test_an_upload_becomes_an_archive_of_three_versions(queue: JobQueue) -> None:
    upload = await queue.submit("upload", files={"audio": ("a.wav", tone(440), "audio/wav")})
    flow = await queue.submit_flow(media.pipeline(upload.id, "editor"))
    assert await flow.result() == "editor: archive, music, speech"
    joined = await (await flow.job("join")).status()
    assert joined.file is not None
    with zipfile.ZipFile(joined.file.path) as archive:
        assert sorted(archive.namelist()) == ["archive.wav", "music.ogg", "speech.flac"]
        for name, rate, channels in (("speech.flac", 16_000, 1), ("music.ogg", 48_000, 2), ("archive.wav", RATE, 2)):
            samples, found_rate = soundfile.read(io.BytesIO(archive.read(name)), dtype="float64", always_2d=True)
            assert (found_rate, samples.shape) == (rate, (round(SECONDS * rate), channels))
            assert loudest_hz(samples[:, 0], rate) == pytest.approx(440, abs=1)


async def test_a_file_that_is_no_audio_cancels_the_join_and_the_notice(queue: JobQueue) -> None:
    upload = await queue.submit("upload", files={"audio": ("a.wav", b"no audio", "audio/wav")})
    flow = await queue.submit_flow(media.pipeline(upload.id, "editor"))
    with pytest.raises(JobFailed, match="job speech: the part 'audio' can't be read as audio"):
        await flow.result()
    states = {job.name: job.state for job in (await flow.status()).jobs}
    assert states == {
        "speech": "failed",
        "music": "failed",
        "archive": "failed",
        "join": "cancelled",
        "notify": "cancelled",
    }


async def test_a_failed_upload_cancels_the_whole_flow(queue: JobQueue) -> None:
    failed = await queue.submit("upload")
    with pytest.raises(JobFailed, match="no audio"):
        await failed.result()
    flow = await queue.submit_flow(media.pipeline(failed.id, "editor"))
    assert (await flow.wait()).state == "cancelled"
