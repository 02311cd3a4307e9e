"""The audio example: its handler called directly, on generated files."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from examples import audio
from jobqueue.context import JobContext
from jobqueue.errors import InvalidSubmission, Reject
from jobqueue.handlers import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

Samples = npt.NDArray[np.floating[Any]]

FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS"}


class Job:
    """A job with an upload, its progress reports and its result."""

    def __init__(self, folder: Path, upload: Path | None) -> None:
        self.reports: list[tuple[float, str | None]] = []
        self.context = JobContext(
            job_id="some-job",
            attempt=1,
            group=None,
            files={} if upload is None else {"audio": upload},
            folder=lambda: folder,
            on_progress=lambda fraction, note: self.reports.append((fraction, note)),
        )

    @property
    def written(self) -> tuple[Samples, soundfile.SoundFile]:
        found = self.context.written_result()
        assert found is not None
        with soundfile.SoundFile(found[0]) as file:
            return file.read(dtype="float64", always_2d=True), file

    @property
    def media_type(self) -> str:
        found = self.context.written_result()
        assert found is not None
        return found[1]


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """Make a job with an upload of given samples."""

    def make(samples: npt.ArrayLike, rate: int = 44_100, format: str = "wav", subtype: str | None = None) -> Job:
        path = tmp_path / "upload"
        soundfile.write(path, samples, rate, subtype or FORMATS[format], format=format.upper())
        return Job(tmp_path, path)

    return make


def tone(hz: float, seconds: float, rate: int = 44_100, peak: float = 0.5) -> Samples:
    wave: Samples = peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return wave


def pitch(samples: Samples, rate: int) -> float:
    """Return the loudest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * rate / len(samples)


@pytest.mark.parametrize("into", FORMATS)
@pytest.mark.parametrize("out_of", FORMATS)
@pytest.mark.parametrize("rate", [16_000, 48_000, None])
def test_a_tone_keeps_its_pitch_level_and_length(
    job: Callable[..., Job], out_of: str, into: str, rate: int | None
) -> None:
    tune = job(tone(440, 2.0), format=out_of)
    result = audio.transcode(tune.context, rate=rate, format=into)  # type: ignore[arg-type]  # strs, not the literals
    samples, file = tune.written
    expected_rate = rate or 44_100
    assert result == {"frames": len(samples), "rate": expected_rate, "channels": 1, "duration_s": 2.0}
    assert (file.samplerate, file.format, tune.media_type) == (expected_rate, into.upper(), f"audio/{into}")
    assert len(samples) == 2 * expected_rate
    assert pitch(samples[:, 0], expected_rate) == pytest.approx(440, abs=1)
    assert samples.std() == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_samples_are_unchanged_without_arguments(job: Callable[..., Job]) -> None:
    noise = np.random.default_rng(7).uniform(-1, 1, (100_000, 2))
    same = job(noise)
    audio.transcode(same.context)
    upload, _ = soundfile.read(same.context.files["audio"], dtype="float64")
    assert np.array_equal(same.written[0], upload)


def test_a_24_bit_file_keeps_its_depth(job: Callable[..., Job]) -> None:
    deep = job(tone(440, 0.1), subtype="PCM_24")
    audio.transcode(deep.context)
    assert deep.written[1].subtype == "PCM_24"


def test_mono_is_the_mean_of_stereo_channels(job: Callable[..., Job]) -> None:
    stereo = job(np.column_stack([tone(440, 1.0, peak=0.8), tone(440, 1.0, peak=0.4)]))
    result = audio.transcode(stereo.context, channels=1)
    samples, _ = stereo.written
    assert (result["channels"], samples.shape) == (1, (44_100, 1))
    assert np.abs(samples).max() == pytest.approx(0.6, abs=0.001)


def test_stereo_of_a_mono_file_has_two_equal_channels(job: Callable[..., Job]) -> None:
    mono = job(tone(440, 1.0))
    result = audio.transcode(mono.context, rate=8000, channels=2)
    samples, _ = mono.written
    assert (result["channels"], samples.shape) == (2, (8000, 2))
    assert np.array_equal(samples[:, 0], samples[:, 1])


def test_channels_are_not_mixed(job: Callable[..., Job]) -> None:
    stereo = job(np.column_stack([tone(440, 1.0), tone(1000, 1.0)]))
    audio.transcode(stereo.context, rate=16_000)
    samples, _ = stereo.written
    assert [pitch(samples[:, n], 16_000) for n in (0, 1)] == [pytest.approx(440, abs=2), pytest.approx(1000, abs=2)]


@pytest.mark.parametrize("into", ["wav", "flac"])
@pytest.mark.parametrize("rate", [16_000, None])
def test_peaks_are_clipped_and_do_not_wrap(job: Callable[..., Job], into: str, rate: int | None) -> None:
    loud = job(np.clip(tone(100, 1.0, peak=4.0), -1.5, 1.5), subtype="FLOAT")
    audio.transcode(loud.context, rate=rate, format=into)  # type: ignore[arg-type]  # strs, not the literals
    samples = loud.written[0][:, 0]
    assert samples.max() > 0.99
    assert samples.min() < -0.99
    # A sample that wraps jumps from one end to the other.
    assert np.abs(np.diff(samples)).max() < 0.7


def test_nan_becomes_silence_and_does_not_spread(job: Callable[..., Job]) -> None:
    samples = tone(440, 1.0)
    samples[1000] = np.nan
    broken = job(samples, subtype="FLOAT")
    audio.transcode(broken.context, rate=16_000)
    assert pitch(broken.written[0][:, 0], 16_000) == pytest.approx(440, abs=2)


def test_an_empty_file_produces_an_empty_file(job: Callable[..., Job]) -> None:
    empty = job(np.zeros((0, 1)))
    assert audio.transcode(empty.context, rate=8000) == {"frames": 0, "rate": 8000, "channels": 1, "duration_s": 0.0}


def test_progress_rises_to_one(job: Callable[..., Job]) -> None:
    long = job(tone(440, 10.0))
    audio.transcode(long.context, rate=16_000)
    fractions = [fraction for fraction, _ in long.reports]
    assert len(fractions) == 7
    assert fractions == sorted(fractions)
    assert long.reports[-1] == (1.0, "10 s")


def test_memory_does_not_grow_with_the_file(job: Callable[..., Job]) -> None:
    peaks = []
    for seconds in (20, 80):
        long = job(tone(440, seconds))
        tracemalloc.start()
        audio.transcode(long.context, rate=16_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"This is no audio." * 100, b"RIFF\x24\x08\0\0WAVEfmt \x10\0\0\0" + b"\xff" * 40]
)
def test_a_file_without_audio_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(Reject, match="the part 'audio' can't be read as audio: "):
        audio.transcode(Job(tmp_path, path).context)


def test_a_job_without_a_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="send the file as the part 'audio'"):
        audio.transcode(Job(tmp_path, None).context)


def test_channels_that_cannot_be_mixed_are_rejected(job: Callable[..., Job]) -> None:
    many = job(np.zeros((100, 6)))
    with pytest.raises(Reject, match="6 channels can be mixed to 1, but not to 2"):
        audio.transcode(many.context, channels=2)
    assert audio.transcode(many.context, channels=1)["channels"] == 1
    with pytest.raises(Reject, match="9 channels are too many"):
        audio.transcode(job(np.zeros((100, 9))).context)


@pytest.mark.parametrize("rate", [1, 3999, 192_001, 700_000])
def test_a_file_with_an_unsupported_rate_is_rejected(job: Callable[..., Job], rate: int) -> None:
    with pytest.raises(Reject, match=f"{rate} Hz is not supported: 4000 to 192000 Hz"):
        audio.transcode(job(np.zeros((100, 1)), rate=rate).context, rate=8000, format="ogg")


def test_two_files_of_one_name_are_rejected(job: Callable[..., Job]) -> None:
    context = job(tone(440, 0.1)).context
    context.files["audio"] = context.files.getall("audio") * 2
    with pytest.raises(Reject, match="submit a job for each"):
        audio.transcode(context)


def test_a_result_that_cannot_be_written_is_not_a_rejection(job: Callable[..., Job], tmp_path: Path) -> None:
    upload = job(tone(440, 0.1)).context.files["audio"]
    with pytest.raises(soundfile.LibsndfileError, match="result-1"):
        audio.transcode(Job(tmp_path / "nowhere", upload).context)


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_or_corrupt_file_is_transcoded_in_part_or_rejected(job: Callable[..., Job], format: str) -> None:
    whole = job(np.random.default_rng(7).uniform(-0.5, 0.5, 200_000), format=format)
    path = whole.context.files["audio"]
    content = path.read_bytes()
    half = len(content) // 2
    for broken in (content[:half], content[:half] + b"\xa5" * 5000 + content[half + 5000 :]):
        path.write_bytes(broken)
        with contextlib.suppress(Reject):
            result = audio.transcode(whole.context, rate=16_000)
            assert result["frames"] == len(whole.written[0]) > 0


@pytest.mark.parametrize(
    ("args", "pointer"),
    [
        (b'{"rate": 3999}', "/args/rate"),
        (b'{"rate": 192001}', "/args/rate"),
        (b'{"channels": 3}', "/args/channels"),
        (b'{"format": "mp3"}', "/args/format"),
    ],
)
def test_arguments_are_checked_before_the_job_is_accepted(args: bytes, pointer: str) -> None:
    registry: Registry = audio.queue.service.registry
    with pytest.raises(InvalidSubmission) as caught:
        registry.get("transcode").check(args)
    assert [fault.pointer for fault in caught.value.errors] == [pointer]


def test_every_allowed_rate_works_in_every_format(job: Callable[..., Job]) -> None:
    for rate in (4000, 11_025, 44_100, 192_000):
        for into in FORMATS:
            stereo = job(np.column_stack([tone(440, 0.5)] * 2))
            result = audio.transcode(stereo.context, rate=rate, format=into)  # type: ignore[arg-type]  # strs, not the literals
            assert result["frames"] == pytest.approx(rate / 2, abs=1)
            assert stereo.written[0].shape == (result["frames"], 2)
