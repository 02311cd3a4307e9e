"""The settings in effect, for the server's operators: `GET /v1/server/settings`.

Rules:

1. Ids and digests of keys are `hidden`, and the keys of `auth.keys_file` are not told at all.
2. There may be thousands of settings: they are told in slices of `SLICE`, so that the loop goes on in between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypedDict

import msgspec
import orjson

from jobqueue.config.effective import EffectiveSetting, changed_by_requests, effective
from jobqueue.http.request.query import parameters
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from jobqueue.config.load import Loaded
    from jobqueue.service import Service

SLICE = 100
"""Settings that are told before other tasks run: half a millisecond."""


class ServerSettingsDocument(TypedDict):
    """The settings in effect.

    Attributes:
        settings: All of them, in the order of the settings file.
        restart_required: What the last reload has read, and what takes effect with a restart: by name, `8080 -> 9090`.
    """

    settings: list[EffectiveSetting]
    restart_required: dict[str, str]


class Configured(Protocol):
    """The server process, as far as this resource needs it."""

    @property
    def log_level(self) -> str:
        """The level in effect."""
        ...

    @property
    def readings(self) -> Sequence[Loaded]:
        """The settings as they were read, the newest reading first."""
        ...

    @property
    def restart_required(self) -> dict[str, str]: ...


class ServerSettings:
    """The handler of `/v1/server/settings`. Args: process: Returns the server process; None: there is none of ours."""

    def __init__(self, service: Service, process: Callable[[], Configured | None]) -> None:
        self._service = service
        self._process = process

    async def look(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/server/settings"""
        parameters(request, ())
        process, read = self._process(), self._service.settings
        now = changed_by_requests(read, self._service.policies, None if process is None else process.log_level)
        told: list[bytes] = []
        for setting in effective(now, read, () if process is None else process.readings):
            told.append(msgspec.json.encode(setting))
            if len(told) % SLICE == 0:
                await asyncio.sleep(0)
        waiting = orjson.dumps({} if process is None else process.restart_required)
        return whole_answer(request, b'{"settings":[%b],"restart_required":%b}' % (b",".join(told), waiting), JSON)
