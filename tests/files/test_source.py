"""Files of a submission: accepted forms, and the errors of others."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from jobqueue.files.source import sources_of


def seen(**files: Any) -> list[tuple[str, str, str, bytes]]:
    found = []
    for source in sources_of(files):
        content = b"".join(source.chunks(3))
        assert b"".join(source.chunks(1000)) == content  # read again, as by a repeated request
        assert len(content) == source.size_bytes
        found.append((source.part, source.filename, source.media_type, content))
    return found


def test_a_path_provides_name_and_media_type(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"1,2\n3,4")
    expected = [("f", "table.csv", "text/csv", b"1,2\n3,4")]
    assert seen(f=path) == seen(f=str(path)) == expected
    assert seen(f=("other.txt", path)) == [("f", "other.txt", "text/plain", b"1,2\n3,4")]


def test_bytes_are_named_after_their_part() -> None:
    for content in (b"12345", bytearray(b"12345"), memoryview(b"12345")):
        assert seen(f=content) == [("f", "f", "application/octet-stream", b"12345")]
    assert seen(f=("a.json", b"{}", "text/x-mine")) == [("f", "a.json", "text/x-mine", b"{}")]
    assert seen(f=b"") == [("f", "f", "application/octet-stream", b"")]


def test_an_open_file_is_read_from_its_position(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(4)
        assert seen(f=file) == [("f", "a.bin", "application/octet-stream", b"456789")]
        assert not file.closed
    stream = io.BytesIO(b"abc")
    assert seen(f=stream, g=stream) == [
        ("f", "f", "application/octet-stream", b"abc"),
        ("g", "g", "application/octet-stream", b"abc"),
    ]
    with tempfile.TemporaryFile() as nameless:  # its name is a number
        assert seen(f=nameless)[0][1] == "f"


def test_a_list_provides_several_files_of_one_part() -> None:
    assert [(part, name) for part, name, _, _ in seen(f=[("1", b""), ("2", b"")], g=[], h=b"")] == [
        ("f", "1"),
        ("f", "2"),
        ("h", "h"),
    ]


def test_a_name_that_is_not_utf_8_gets_replacement_characters(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")
    Path(path).write_bytes(b"x")
    assert seen(f=path)[0][1:3] == ("caf\ufffd.txt", "text/plain")
    assert seen(f=Path(path))[0][1] == seen(f=("caf\udce9.txt", b"x"))[0][1] == "caf\ufffd.txt"


def test_an_invalid_file_raises_an_error_that_names_its_part(tmp_path: Path) -> None:
    class Slow(io.BytesIO):
        async def read(self, size: int = -1) -> bytes:  # type: ignore[override]  # an async file
            raise AssertionError("read was called")

    closed = io.BytesIO()
    closed.close()
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb") as pipe, open(write_fd, "wb"), (tmp_path / "new").open("wb") as writing:
        wrong: list[tuple[Any, type[Exception], str]] = [
            (7, TypeError, "the file 'f' takes a path, bytes, a file that is open for reading bytes, or a tuple"),
            (None, TypeError, "not None"),
            (io.StringIO("x"), TypeError, 'open as text; open it for bytes, as in open\\(path, "rb"\\)'),
            (Slow(), TypeError, "asynchronous"),
            (pipe, ValueError, "can't be read twice"),
            (("a", b"", "no type"), ValueError, "takes a media type such as 'text/csv', not 'no type'"),
            (("a", b"", "text/x\r\nX-Evil: 1"), ValueError, "takes a media type"),
            ((None, b""), TypeError, "takes \\(name, content\\) or \\(name, content, media type\\)"),
            (("a",), TypeError, "takes \\(name, content\\)"),
            (tmp_path, IsADirectoryError, str(tmp_path)),
            (tmp_path / "none", FileNotFoundError, "none"),
            ("/dev/zero", ValueError, "not a regular file"),
            (closed, ValueError, "the file 'f' has been closed; pass it while it is open"),
            (writing, ValueError, "the file 'f' is open for writing only; open it for reading"),
        ]
        for given, kind, message in wrong:
            with pytest.raises(kind, match=message):
                sources_of({"f": given})


@pytest.mark.parametrize("files", [["a.txt"], "a.txt", b"content"])
def test_files_without_part_names_raise_an_error_with_the_right_form(files: Any) -> None:
    with pytest.raises(TypeError, match=r"files= takes names of parts with their files, as in \{'file': ...\}, not "):
        sources_of(files)


@pytest.mark.parametrize("part", ["", "job", 7])
def test_an_invalid_part_name_raises_an_error(part: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="file's part"):
        sources_of({part: b""})


def test_a_file_that_grows_is_read_to_its_former_length_and_one_that_shrinks_raises_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"12345")
    (source,) = sources_of({"f": path})
    path.write_bytes(b"123456789")
    assert b"".join(source.chunks(100)) == b"12345"
    path.write_bytes(b"12")
    with pytest.raises(OSError, match="its last 3 bytes are missing"):
        b"".join(source.chunks(100))
