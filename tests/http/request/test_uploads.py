"""Submissions with files: streaming to the spool, accounting, and removal."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.http.serving import CLOSE, Answer, post, read_answer

if TYPE_CHECKING:
    from tests.http.serving import Serving


def form(*parts: tuple[str, bytes], end: bytes = b"--xyz--\r\n") -> bytes:
    body = b""
    for name, content in parts:
        disposition = f'Content-Disposition: form-data; name="{name}"; filename="../../etc/{name}"\r\n'
        body += b"--xyz\r\n" + disposition.encode() + b"\r\n" + content + b"\r\n"
    return body + end


def posted(body: bytes, *headers: str) -> bytes:
    return post(body, *headers, media_type="multipart/form-data; boundary=xyz")


def spooled(serving: Serving) -> list[Path]:
    # os.walk ignores a folder that is being removed.
    return sorted(Path(folder) / name for folder, _, names in os.walk(serving.spool_dir) for name in names)


async def removed(serving: Serving, *, left: int = 0) -> None:
    while len(spooled(serving)) != left:
        await asyncio.sleep(0.01)


def result_of(job_id: str) -> bytes:
    return f"GET /v1/jobs/{job_id}/result HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode()


SIZES = b'{"type":"sizes"}'


async def test_files_reach_the_handler_and_are_removed_after_it(serving: Serving) -> None:
    async with aiohttp.ClientSession(serving.url) as http:
        with aiohttp.MultipartWriter("form-data") as parts:
            parts.append(SIZES.decode()).set_content_disposition("form-data", name="job")
            parts.append(b"x" * 300_000).set_content_disposition("form-data", name="large", filename="a.bin")
            parts.append(b"").set_content_disposition("form-data", name="empty", filename="b.bin")
        async with http.post("/v1/jobs", data=parts) as response:
            assert response.status == 202, await response.text()
            job = await serving.service.backend.wait((await response.json())["id"])
    assert job.result == b'{"large":300000,"empty":0}'
    await removed(serving)
    assert serving.service.spool.bytes_used == 0


async def test_part_names_never_become_paths(serving: Serving) -> None:
    body = form(("job", b'{"type":"hold"}'), ("../../../x", b"1"), ("/etc/passwd", b"2"))
    assert Answer(await serving.talk(posted(body, CLOSE))).status == 202
    assert [path.name for path in spooled(serving)] == ["file-0", "file-1"]
    folder = spooled(serving)[0].parent
    assert folder.stat().st_mode & 0o077 == 0
    assert folder.parent.parent.stat().st_mode & 0o077 == 0


def part(disposition: bytes, content: bytes = b"", media_type: bytes = b"text/csv") -> bytes:
    return b"--xyz\r\nContent-Disposition: form-data; %b\r\nContent-Type: %b\r\n\r\n%b\r\n" % (
        disposition,
        media_type,
        content,
    )


NAMED = part(b'name="job"', b'{"type":"named"}', b"application/json")


async def result_of_named(serving: Serving, *parts: bytes) -> Any:
    answer = Answer(await serving.talk(posted(NAMED + b"".join(parts) + b"--xyz--\r\n", "Prefer: wait=10", CLOSE)))
    assert answer.status == 200, answer.rest
    return json.loads(answer.rest)["result"]


async def test_a_handler_gets_the_filename_type_and_size_of_a_file(serving: Serving) -> None:
    files = await result_of_named(
        serving, part(b'name="a"; filename="caf\xc3\xa9.csv"', b"1,2"), part(b"name=b", b"", b"no type")
    )
    assert files == {"a": [["café.csv", "text/csv", 3]], "b": [["", "application/octet-stream", 0]]}


async def test_invalid_utf_8_in_a_filename_is_replaced(serving: Serving) -> None:
    assert (await result_of_named(serving, part(b'name="a"; filename="caf\xe9.txt"')))["a"][0][0] == "caf\ufffd.txt"


async def test_several_files_of_one_name_are_a_list_in_order(serving: Serving) -> None:
    a, b, a2 = part(b'name=a; filename="1"', b"1"), part(b'name=b; filename="b"'), part(b'name=a; filename="2"', b"22")
    files = await result_of_named(serving, a, b, a2)
    assert files == {"a": [["1", "text/csv", 1], ["2", "text/csv", 2]], "b": [["b", "text/csv", 0]]}
    await removed(serving)
    assert serving.service.spool.bytes_used == 0


async def test_each_file_of_one_name_counts_towards_the_limit(serving: Serving) -> None:
    body = NAMED + part(b"name=a", b"1") * 4 + b"--xyz--\r\n"
    answer = Answer(await serving.talk(posted(body, CLOSE)))
    assert (answer.status, answer.kind) == (413, "too-large")
    await removed(serving)


@pytest.mark.parametrize(
    ("sent", "filename"),
    [
        (b'"../../x"', "x"),
        (b'"/etc/passwd"', "passwd"),
        (rb'"C:\dir\report.pdf"', "report.pdf"),
        (b'".."', ""),
        (b'"a/"', ""),
        (b'"a\x00b\x1b[2J\xe2\x80\xaegpj.exe"', "a\ufffdb\ufffd[2J\ufffdgpj.exe"),
        (b'"' + b"x" * 6_000 + b'.tar"', "x" * 251 + ".tar"),
    ],
)
async def test_a_hostile_filename_is_sanitized(serving: Serving, sent: bytes, filename: str) -> None:
    assert (await result_of_named(serving, part(b'name="a"; filename=' + sent)))["a"][0][0] == filename


async def test_the_same_key_with_another_filename_gets_422(serving: Serving) -> None:
    def sent(filename: str) -> bytes:
        body = NAMED + part(b'name=a; filename="%b"' % filename.encode()) + b"--xyz--\r\n"
        return posted(body, "Idempotency-Key: k", CLOSE)

    statuses = [Answer(await serving.talk(sent(filename))).status for filename in ("a", "a", "b")]
    assert statuses[0] == 202
    assert statuses[1] in (200, 202)
    assert statuses[2] == 422


async def test_a_failed_job_keeps_its_files_until_its_record_is_deleted(serving: Serving) -> None:
    serving.queue.handler(name="fail_with_files")(_fail_with_files)
    answer = Answer(await serving.talk(posted(form(("job", b'{"type":"fail_with_files"}'), ("a", b"1")), CLOSE)))
    job_id = answer.headers["location"].rpartition("/")[2]
    await serving.service.backend.wait(job_id)
    await asyncio.sleep(0.05)
    assert len(spooled(serving)) == 1
    await serving.service.backend.delete(job_id)
    await removed(serving)


async def _fail_with_files() -> None:
    raise ValueError("no")


async def test_a_result_file_is_streamed_with_its_media_type_and_deleted_with_its_record(
    serving: Serving,
) -> None:
    async with aiohttp.ClientSession(serving.url) as http:
        args = {"size": 600_000, "media_type": "audio/flac"}
        async with http.post("/v1/jobs", json={"type": "report", "args": args}) as response:
            job = await response.json()
        await serving.service.backend.wait(job["id"])
        path = f"/v1/jobs/{job['id']}"
        async with http.get(f"{path}/result") as response:
            assert (response.status, response.content_type) == (200, "audio/flac")
            assert response.headers["Content-Length"] == "600000"
            assert await response.read() == b"r" * 600_000
        async with http.head(f"{path}/result") as response:
            assert (response.headers["Content-Length"], await response.read()) == ("600000", b"")
        assert serving.service.spool.bytes_used == 600_000
        async with http.delete(path) as response:
            assert response.status == 204
    await removed(serving)
    assert serving.service.spool.bytes_used == 0


@pytest.mark.parametrize("media_type", ["text/plain\r\nX-Evil: 1", "nonsense", "é/é", "", "a/b; c=\n"])
async def test_an_invalid_media_type_is_replaced(serving: Serving, media_type: str) -> None:
    handle = await serving.queue.submit("report", {"media_type": media_type})
    await handle.wait()
    answer = Answer(
        await serving.talk(f"GET /v1/jobs/{handle.id}/result HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode())
    )
    assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert "x-evil" not in answer.headers


async def test_a_missing_result_file_gets_410(serving: Serving) -> None:
    handle = await serving.queue.submit("report")
    job = await handle.wait()
    assert job.file is not None
    os.unlink(job.file.path)
    answer = Answer(
        await serving.talk(f"GET /v1/jobs/{handle.id}/result HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode())
    )
    assert answer.status == 410


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (form(("a", b"1"), ("job", SIZES)), 400, "malformed-request"),
        (form(), 400, "malformed-request"),
        (form(("job", b"nonsense")), 400, "malformed-json"),
        (form(("job", SIZES), ("a", b"1"), ("job", SIZES)), 400, "malformed-request"),
        (form(("job", SIZES), ("a", b"1" * 1000), end=b""), 400, "malformed-request"),
        (form(("job", b'{"type":"nope"}'), ("a", b"1")), 422, "unknown-type"),
        (form(("job", SIZES), ("a", b""), ("b", b""), ("c", b""), ("d", b"")), 413, "too-large"),
        (form(("job", SIZES.ljust(65537)), ("a", b"")), 413, "too-large"),
        (form(("job", SIZES), ("a", b"x" * 600_000), ("b", b"x" * 600_000)), 413, "too-large"),
    ],
)
async def test_a_rejected_upload_leaves_no_files(serving: Serving, body: bytes, status: int, kind: str) -> None:
    async with serving.connect() as (reader, writer):
        # Chunked, so that Content-Length does not give the size away.
        start = "POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=xyz\r\n"
        writer.write(f"{start}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        answer = await read_answer(reader)
    assert (answer.status, answer.kind) == (status, kind)
    await removed(serving)
    assert serving.service.spool.bytes_used == 0
    assert serving.service.backend.stats()[0].accepted_total == 0


async def test_an_invalid_job_is_rejected_before_its_files(serving: Serving) -> None:
    async with serving.connect() as (reader, writer):
        body = form(("job", b'{"type":"nope"}'), end=b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n')
        writer.write(posted(body + b"x" * 100_000)[:-100_000])
        assert (await read_answer(reader)).status == 422


async def test_an_interrupted_upload_leaves_no_files_or_bytes(serving: Serving) -> None:
    body = form(("job", SIZES), ("a", b"x" * 600_000))
    async with serving.connect() as (_, writer):
        writer.write(posted(body)[:-1000])
        await writer.drain()
        while not spooled(serving):
            await asyncio.sleep(0.01)
    await removed(serving)
    while serving.server.open:
        await asyncio.sleep(0.01)
    assert serving.service.spool.bytes_used == 0


async def test_a_full_spool_rejects_uploads_before_the_body_until_it_has_room(start: Any) -> None:
    serving = await start(spool={"bytes_max": 100_000})
    held = Answer(await serving.talk(posted(form(("job", b'{"type":"hold"}'), ("a", b"x" * 90_000)), CLOSE)))
    assert held.status == 202
    async with serving.connect() as (reader, writer):
        writer.write(posted(b"x" * 20_000)[:-20_000])
        answer = await read_answer(reader)
        assert (answer.status, answer.kind) == (503, "spool-full")
        assert int(answer.headers["retry-after"]) > 0
    serving.gate.set()
    await removed(serving)
    again = Answer(await serving.talk(posted(form(("job", SIZES), ("a", b"x" * 90_000)), CLOSE)))
    assert again.status == 202


async def test_a_full_disk_rejects_the_upload_and_frees_its_bytes(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: str, path: str, data: bytearray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jobqueue.runtime.spool._append", full)
    answer = Answer(await serving.talk(posted(form(("job", SIZES), ("a", b"1")), CLOSE)))
    assert (answer.status, answer.kind) == (503, "spool-full")
    assert serving.service.spool.bytes_used == 0


async def test_a_long_upload_at_the_minimum_rate_is_accepted(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.http.request.body.RATE_BYTES_S_MIN", 100_000)
    serving = await start(limits={"body_timeout_s": 0.3})
    body = posted(form(("job", SIZES), ("a", b"x" * 100_000)), CLOSE)
    async with serving.connect() as (reader, writer):
        for at in range(0, len(body), 10_000):
            writer.write(body[at : at + 10_000])
            await asyncio.sleep(0.06)
        assert (await read_answer(reader)).status == 202


async def test_a_slow_upload_gets_408(start: Any) -> None:
    serving = await start(limits={"body_timeout_s": 0.3})
    body = form(("job", SIZES), ("a", b"x" * 1000))
    async with serving.connect() as (reader, writer):
        writer.write(posted(body)[:-500])
        answer = await read_answer(reader)
        assert (answer.status, answer.kind) == (408, "body-too-slow")
    await removed(serving)


async def test_files_for_a_handler_without_files_are_accepted(serving: Serving) -> None:
    assert Answer(await serving.talk(posted(form(("job", b'{"type":"echo"}'), ("a", b"1")), CLOSE))).status == 202
    await removed(serving)


async def test_a_form_without_files_is_a_valid_submission(serving: Serving) -> None:
    assert Answer(await serving.talk(posted(form(("job", SIZES)), CLOSE))).status == 202
    assert spooled(serving) == []
