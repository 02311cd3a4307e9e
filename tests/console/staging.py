"""A staged server: jobs in each state, several queues, one of them paused and one full, and hostile texts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.console.handlers import HOSTILE
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

HANDLERS = str(Path(__file__).parent / "handlers.py")
TARGET = f"{HANDLERS}:queue"

SETTINGS = (
    *("queues.default.workers=50", "queues.mail.workers=4", "queues.mail.capacity=100"),
    *("queues.video.workers=2", "queues.video.capacity=20", "server.linger_s=0.2", "server.drain_s=0.2"),
    *("limits.loop_lag_max_s=30s", "statuses.ttl_s=86400"),  # other programs may keep the machine busy
)
LIVE_MAX = 400
WAIT_S = 10.0


class Staged(ServerProcess):
    """A server of the handlers in `handlers.py`.

    Args:
        target: Other handlers.

    Attributes:
        ids: Ids of staged jobs, by state, and under other words.
    """

    def __init__(
        self, folder: Path, *settings: str, target: str = TARGET, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder, target, *SETTINGS, *settings, environment=environment)
        self.ids: dict[str, list[str]] = {}

    @property
    def console(self) -> str:
        return f"{self.url}/console/"

    def ask(self, method: str, path: str, document: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send a request; return the document of any answer."""
        body = None if document is None else json.dumps(document).encode()
        sent = {**({"Content-Type": "application/json"} if body is not None else {}), **(headers or {})}
        request = urllib.request.Request(self.url + path, data=body, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return json.loads(error.read() or b"null")

    def submit(
        self, kind: str, /, args: object = None, *, under: str | None = None, wait: bool = False, **options: Any
    ) -> str:
        """Submit a job; return its id. Args: under: Files the id under this word in `ids`."""
        headers = {"Prefer": f"wait={WAIT_S:.0f}"} if wait else {}
        document = self.ask("POST", "/v1/jobs", {"type": kind, "args": args or {}, **options}, headers)
        job_id: str = document["id"]
        if under is not None:
            self.ids.setdefault(under, []).append(job_id)
        return job_id

    def stage(self) -> None:
        """Submit jobs that end, or stay, in each state."""
        for number in range(12):
            self.submit(
                "thumbnail", {"image": f"photo-{number}.jpg", "width": 100 + number}, under="succeeded", wait=True
            )
        self.submit("report", {"customer": "Ann", "password": "secret"}, under="succeeded", wait=True, group="ann")
        for number in range(4):
            self.submit(
                "send_mail", {"to": f"user{number}@mail.example"}, under="failed", wait=True, group=f"g{number}"
            )
        self.submit("check", {"value": {"a": [1, None, True]}}, under="failed", wait=True)
        self.submit("slow", under="failed", wait=True)
        self.submit("charge", {"amount": 12.5, "customer": 7}, under="retried")
        self.submit("thumbnail", {"image": "later.jpg"}, under="delayed", delay_s=3600)
        for _ in range(3):
            self.submit("hold", {"note": "page 3 of 6"}, under="running")
        for number in range(20):
            self.submit("hold", {"note": f"{number}"}, under="queued", queue="video")
        cancelled = self.submit("hold", under="cancelled")
        self.ask("POST", f"/v1/jobs/{cancelled}:cancel")
        self.ask("POST", "/v1/queues/mail:pause")
        self.submit("thumbnail", {"image": "paused.jpg"}, under="paused", queue="mail")
        self.submit("thumbnail", {"image": "late.jpg"}, under="expired", queue="mail", start_by_s=0.05, wait=True)
        self._stage_hostile()

    def _stage_hostile(self) -> None:
        texts = {HOSTILE: HOSTILE, "long": "x" * 20_000, "nested": {"deep": [[[HOSTILE]]]}}
        self.submit("hostile", texts, under="hostile", wait=True, group=HOSTILE.replace("\x00", ""))
        self.submit("hostile", {"fails": True, **texts}, under="hostile", wait=True)
        self.submit("hold", {"note": HOSTILE}, under="hostile")
