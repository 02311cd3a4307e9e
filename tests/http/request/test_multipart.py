"""Parsing of multipart forms, for any split of the body. No socket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.http.errors import MalformedRequest
from jobqueue.http.request.multipart import FormReader, Part

if TYPE_CHECKING:
    from collections.abc import Iterable

TYPE = "multipart/form-data; boundary=xyz"


class Body:
    """A body that arrives in pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]

    async def readany(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def parts_of(pieces: Iterable[bytes], content_type: str = TYPE) -> list[tuple[Part, bytes]]:
    async def read() -> list[tuple[Part, bytes]]:
        form = FormReader(Body(pieces), content_type)  # type: ignore[arg-type]  # only `readany` is used
        parts = []
        while (part := await form.next_part()) is not None:
            content = b""
            while chunk := await form.read():
                content += chunk
            parts.append((part, content))
        return parts

    return asyncio.run(read())


def form(*parts: tuple[str, bytes], boundary: bytes = b"xyz") -> bytes:
    lines = [b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts]
    return b"".join(lines) + b"--" + boundary + b"--\r\n"


DISPOSITION = 'Content-Disposition: form-data; name="a"'


def test_parts_have_names_types_and_filenames() -> None:
    body = form(
        (DISPOSITION, b"1"), ('content-disposition:form-data;filename="f"; name=b\r\nContent-Type: text/csv', b"")
    )
    assert parts_of([body]) == [(Part("a", None), b"1"), (Part("b", "text/csv", "f"), b"")]


@given(
    st.lists(
        st.binary(max_size=50) | st.sampled_from([b"\r\n--xy", b"--xyz", b"\r\n", b"\r\n-", b"xyz--"]), max_size=4
    ),
    st.lists(st.integers(0, 300), max_size=10),
)
def test_parts_do_not_depend_on_the_split_of_the_body(contents: list[bytes], cuts: list[int]) -> None:
    if any(b"\r\n--xyz" in content for content in contents):
        return
    body = form(*((f'Content-Disposition: form-data; name="p{n}"', content) for n, content in enumerate(contents)))
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    assert [content for _, content in parts_of(pieces)] == contents


def test_a_body_parses_alike_byte_by_byte() -> None:
    body = form((DISPOSITION, b"\r\n--xy\r\n--xyy"), (DISPOSITION, b"-" * 100))
    assert parts_of(body[at : at + 1] for at in range(len(body))) == parts_of([body])


def test_the_unread_rest_of_a_part_is_skipped() -> None:
    async def names() -> list[str]:
        body = Body([form((DISPOSITION, b"x" * 1000), (DISPOSITION, b""))])
        reader = FormReader(body, TYPE)  # type: ignore[arg-type]  # only `readany` is used
        found = []
        while (part := await reader.next_part()) is not None:
            found.append(part.name)
        return found

    assert asyncio.run(names()) == ["a", "a"]


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('form-data; name="with \\"quotes\\""', 'with "quotes"'),
        ('form-data; name="with %22quotes%22"', 'with "quotes"'),
        ('FORM-DATA; NAME="é"', "é"),
        ('form-data; filename="name=x"; name="y"', "y"),
    ],
)
def test_part_names_are_parsed_as_browsers_write_them(disposition: str, name: str) -> None:
    ((part, _),) = parts_of([form((f"Content-Disposition: {disposition}", b""))])
    assert part.name == name


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        (b"name=a", ""),
        (b'name=a; filename=""', ""),
        (b'name=a; filename="caf\xe9.txt"', "caf\ufffd.txt"),
        ('name=a; filename="naïve 文.txt"'.encode(), "naïve 文.txt"),
        (b'name=a; filename="a%22b%0D%0A%20.txt"', 'a"b\r\n%20.txt'),
        (rb'name=a; filename="a\"b\\c\d.txt"', 'a"b\\c\\d.txt'),
        (b"name=a; filename=plain.txt", "plain.txt"),
        (b"name=a; filename=\"x\"; filename*=UTF-8''na%C3%AFve%20x.txt", "naïve x.txt"),
        (b"name=a; filename*=iso-8859-1'en'caf%E9", "café"),
        (b"name=a; filename*=utf-8''caf%E9", "caf\ufffd"),
        (b"name=a; filename*=nonsense; filename=b", "b"),
    ],
)
def test_filenames_are_parsed_as_browsers_curl_and_libraries_write_them(disposition: bytes, filename: str) -> None:
    body = b"--xyz\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n\r\n--xyz--\r\n"
    ((part, _),) = parts_of([body])
    assert part.filename == filename


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 71],
)
def test_a_form_without_a_valid_boundary_is_malformed(content_type: str) -> None:
    with pytest.raises(MalformedRequest, match="boundary"):
        parts_of([b""], content_type)


def test_a_boundary_may_be_quoted() -> None:
    body = form((DISPOSITION, b"1"), boundary=b"x y:z")
    assert len(parts_of([body], 'multipart/form-data; charset=utf-8; boundary="x y:z"')) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--xy",
        b"--xyz",
        b"--abc\r\n",
        b"preamble\r\n--xyz--\r\n",
        b"--xyz\r\n\r\n",
        b"--xyz junk\r\n" + DISPOSITION.encode() + b"\r\n\r\n\r\n--xyz--\r\n",
        b"--xyz\r\n" + DISPOSITION.encode() + b"\r\n\r\ncontent",
        b"--xyz\r\n" + DISPOSITION.encode() + b"\r\n\r\ncontent\r\n--xyz",
        b"--xyz\r\n" + b"x" * 10_000,
        form(("", b"")),
        form(("Content-Type: text/plain", b"")),
        form(("Content-Disposition: form-data", b"")),
        form(('Content-Disposition: form-data; name=""', b"")),
        form(('Content-Disposition: attachment; name="a"', b"")),
        form((DISPOSITION + "\r\n" + DISPOSITION, b"")),
        form((DISPOSITION + "\r\n folded: x", b"")),
        form((DISPOSITION + "\r\nno colon", b"")),
        form((DISPOSITION + "\r\nContent-Transfer-Encoding: base64", b"")),
        form((DISPOSITION + "\r\nContent-Encoding: gzip", b"")),
        b'--xyz\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\r\n--xyz--',
    ],
)
def test_an_invalid_form_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parts_of([body])


@given(st.binary(max_size=300))
def test_any_bytes_give_parts_or_malformed_request(noise: bytes) -> None:
    for body in (noise, b"--xyz\r\n" + noise, form((DISPOSITION, noise)), form((noise.decode("latin-1"), b""))):
        with contextlib.suppress(MalformedRequest):
            parts_of([body])
