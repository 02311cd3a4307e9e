"""The samples of the monitor as a CSV file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bench.destructive.samples import SampleFile, complete_share, parse, read, thinned
from tests.bench.destructive.samples_of import sample, samples


def test_a_sample_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = [sample(100.25, beat={"gap_s_max": 0.123456}), sample(100.35, alive=False)]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        rows = SampleFile(file)
        for each in written:
            rows.write(each)
        assert read(tmp_path / "a.csv") == written, "complete at any time"


def test_a_cut_last_row_is_passed_over() -> None:
    file = io.StringIO()
    rows = SampleFile(file)
    rows.write(sample(100.0))
    rows.write(sample(100.1))
    assert len(parse(io.StringIO(file.getvalue()[:-30]))) == 1


def test_a_foreign_file_is_an_error() -> None:
    with pytest.raises(ValueError, match="the columns are a, b, not those of a monitor"):
        parse(["a,b", "1,2"])


def test_missing_samples_lower_the_complete_share() -> None:
    assert complete_share(samples(100)) == 1.0
    assert complete_share([each for number, each in enumerate(samples(100)) if number % 10 != 5]) == 0.9
    assert complete_share([]) == 0.0


def test_two_samples_of_one_instant_count_once() -> None:
    doubled = [*samples(10), *[sample(101 + n / 5) for n in range(5)], *[sample(101.01 + n / 5) for n in range(5)]]
    assert complete_share(doubled) < 0.9


def test_thinned_samples_are_few_and_span_the_run() -> None:
    shown = thinned(samples(1000), 100)
    assert len(shown) == 100
    assert shown[-1].at - shown[0].at > 98
