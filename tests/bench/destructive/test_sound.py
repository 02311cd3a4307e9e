"""Generated WAV files."""

from __future__ import annotations

from pathlib import Path

import soundfile

from bench.destructive.loads.sound import RATE, wav


def test_a_generated_file_has_its_length_and_is_not_silent(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"".join(wav(3)))
    with soundfile.SoundFile(tmp_path / "a.wav") as file:
        assert (file.frames, file.samplerate, file.channels) == (3 * RATE, RATE, 1)
        assert 0.3 < abs(file.read()).max() < 1.0
