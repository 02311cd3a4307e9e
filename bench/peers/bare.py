"""aiohttp's own floor: an application that does nothing, and one that reads a body and writes a document.

python -m bench.peers.bare

    HEAD, GET /   204
    POST /jobs    202, with what it read, through orjson both ways
"""

from __future__ import annotations

import orjson
from aiohttp import web

from bench.peers.serving import serve


async def nothing(request: web.Request) -> web.Response:
    return web.Response(status=204)


async def read_and_write(request: web.Request) -> web.Response:
    given = orjson.loads(await request.read())
    return web.Response(status=202, body=orjson.dumps(given), content_type="application/json")


def main() -> None:
    app = web.Application()
    app.router.add_get("/", nothing)
    app.router.add_post("/jobs", read_and_write)
    serve(app)


if __name__ == "__main__":
    main()
