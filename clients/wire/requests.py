"""The requests that a fleet sends, as they go over the wire.

Made once where every client sends the same bytes: a fleet must cost less than the server it drives.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jobqueue.client import Multipart, address_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clients.options import Options


class Requests:
    """The requests to one server; `submission` submits one job."""

    def __init__(self, options: Options) -> None:
        address = address_of(options.url, key=options.key)
        url = urlsplit(address.url)
        self._path = f"{url.path}/v1/jobs"
        fields = {"Host": url.netloc, "User-Agent": "jobqueue-clients", **address.headers}
        self._common = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._job = json.dumps({"type": options.type, "args": options.args}, allow_nan=False).encode()
        media_type, body = "application/json", self._job
        if options.file is not None:
            form = Multipart(self._job, {"file": options.file})
            media_type, body = f"multipart/form-data; boundary={form.boundary}", b"".join(form.chunks())
        self.submission = self._post(self._path, media_type, body)

    def batch(self, jobs: int) -> bytes:
        """Submit a batch of `jobs` jobs."""
        body = b'{"jobs":[' + b",".join([self._job] * jobs) + b"]}"
        return self._post(f"{self._path}:batch", "application/json", body)

    def read(self, method: str, target: str, headers: str = "") -> bytes:
        """Ask by GET or HEAD; `headers` are whole lines."""
        return f"{method} {target} HTTP/1.1\r\n{self._common}{headers}\r\n".encode()

    def read_many(self, ids: Iterable[str]) -> bytes:
        """Ask for the documents of many jobs."""
        return self.read("GET", f"{self._path}?ids={','.join(ids)}")

    def target(self, job_id: str) -> str:
        """Return the path of a job's status."""
        return f"{self._path}/{job_id}"

    def _post(self, target: str, media_type: str, body: bytes) -> bytes:
        head = (
            f"POST {target} HTTP/1.1\r\n{self._common}Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body
