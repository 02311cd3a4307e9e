"""The metrics as a resource: what the service and its server count, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs

from jobqueue.http.request.auth import GRANT
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import COMMON
from jobqueue.metrics.exposition import Exposition, media_type_for

if TYPE_CHECKING:
    from aiohttp import web

    from jobqueue.service import Service


class Metrics:
    """The handler of `/metrics`.

    Attributes:
        exposition: Writes them; a server adds what it counts itself.
    """

    def __init__(self, service: Service) -> None:
        self.exposition = Exposition(service)

    async def scrape(self, request: web.Request) -> web.StreamResponse:
        """GET /metrics: OpenMetrics with exemplars, or Prometheus' older text, by Accept."""
        media_type = media_type_for(", ".join(request.headers.getall(hdrs.ACCEPT, ())))
        grant = request.get(GRANT)
        text = await self.exposition.write(media_type, with_examples=grant is not None and grant.sees is None)
        return whole_answer(request, text, {**COMMON, hdrs.CONTENT_TYPE: media_type, hdrs.VARY: hdrs.ACCEPT})
