"""Uploaded files of a handler: a path with file name, media type and size, and safe file names."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jobqueue.files.uploaded import FILENAME_BYTES_MAX, UploadedFile, UploadedFiles, safe_filename


def upload(path: Path, filename: str = "photo.jpg") -> UploadedFile:
    return UploadedFile.of(str(path), filename=filename, media_type="image/jpeg", size_bytes=3)


def test_an_uploaded_file_behaves_as_a_path(tmp_path: Path) -> None:
    path = tmp_path / "file-0"
    path.write_bytes(b"abc")
    file = upload(path)
    assert isinstance(file, os.PathLike)
    assert os.path.getsize(file) == file.stat().st_size == file.size_bytes == 3
    assert file.read_bytes() == b"abc"
    with open(file, "rb") as opened:
        assert opened.read() == b"abc"
    assert (file, hash(file), str(file), os.fspath(file)) == (path, hash(path), str(path), str(path))
    assert file.parent / "file-0" == path
    assert (file.with_suffix(".x").name, file.name) == ("file-0.x", "file-0")


def test_an_uploaded_file_keeps_its_attributes_through_pickle() -> None:
    copy = pickle.loads(pickle.dumps(upload(Path("/spool/file-0"))))
    assert (copy, copy.filename, copy.media_type, copy.size_bytes) == (
        Path("/spool/file-0"),
        "photo.jpg",
        "image/jpeg",
        3,
    )


def test_getall_returns_a_list_for_any_number_of_files() -> None:
    one, two = upload(Path("/1")), upload(Path("/2"))
    files = UploadedFiles({"one": one, "two": [one, two]})
    assert (files["one"], files.getall("one")) == (one, [one])
    assert files.getall("two") == files["two"] == [one, two]
    assert files.getall("none") == []


@given(st.text(max_size=600) | st.text(st.sampled_from("./\\ \0éx"), max_size=600))
def test_a_safe_filename_stays_in_its_folder_for_any_input(name: str) -> None:
    safe = safe_filename(name)
    assert len(safe.encode()) <= FILENAME_BYTES_MAX
    assert not set(safe) & {"/", "\\", "\0", "\r", "\n"}
    assert safe not in (".", "..")
    assert safe_filename(safe) == safe


def test_a_truncated_name_keeps_its_extension_and_whole_characters() -> None:
    cut = safe_filename("é" * 60_000 + ".jpeg")
    assert cut.endswith("é.jpeg")
    assert len(cut.encode()) == FILENAME_BYTES_MAX
    assert len(safe_filename("x." + "y" * 60_000)) == FILENAME_BYTES_MAX
