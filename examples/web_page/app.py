"""A web page that uploads a file and shows the progress of its job, inside an aiohttp application.

    python -m examples.web_page.app

The page (`index.html`, `page.js`, `style.css`) needs no build step: it imports the JavaScript client as it is. The API
is mounted below `/jobs`, so the page is of the server's own origin. The queue lives in the application: its start
begins the work, its end drains the queue.
"""

import csv
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

import jobqueue.http
from jobqueue import JobContext, JobQueue, Reject
from jobqueue.config import LimitsSettings, Settings

HERE = Path(__file__).parent
CLIENT = HERE.parents[1] / "clients" / "js" / "jobqueue.js"
COLUMNS_MAX = 100
REPORT_ROWS = 1000
POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"

queue = JobQueue(Settings(limits=LimitsSettings(files=1, files_bytes=64 * 2**20)))


@queue.handler(timeout_s=600)
def summarize(ctx: JobContext) -> dict[str, object]:
    """Count the rows of the uploaded table, and write the sums of its columns of numbers into the result file."""
    table = ctx.files.get("table")
    if table is None or isinstance(table, list):
        raise Reject("send one CSV file, as the part 'table' of a form")
    size_bytes = max(1, table.size_bytes)
    with table.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = csv.reader(file)
        names = [" ".join(name.split()) for name in next(lines, [])[:COLUMNS_MAX]]
        sums: list[float | None] = [0.0] * len(names)
        rows = 0
        for rows, line in enumerate(lines, 1):
            sums = [_added(total, cell) for total, cell in zip(sums, line, strict=False)]
            if rows % REPORT_ROWS == 0:
                if ctx.cancelled:  # a thread can't be stopped from outside
                    raise Reject("cancelled")
                ctx.progress(min(1.0, file.buffer.tell() / size_bytes), f"{rows:,} rows")
    with ctx.result_file("text/csv").open("w", newline="") as report:
        csv.writer(report).writerows(
            [("column", "sum"), *zip(names, ("" if each is None else each for each in sums), strict=False)]
        )
    ctx.progress(1.0, f"{rows:,} rows, {len(names)} columns")
    return {}


def _added(total: float | None, cell: str) -> float | None:
    """Return the sum with one cell more; None: the column has something else than numbers."""
    if total is None:
        return None
    try:
        return total + float(cell or 0)
    except ValueError:
        return None


@web.middleware
async def only_own_content(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the page load nothing from elsewhere."""
    response = await handler(request)
    response.headers.setdefault("Content-Security-Policy", POLICY)
    return response


def application() -> web.Application:
    app = web.Application(middlewares=[only_own_content])
    app.add_subapp("/jobs", jobqueue.http.application(queue))
    for path, file in {
        "/": HERE / "index.html",
        "/page.js": HERE / "page.js",
        "/style.css": HERE / "style.css",
        "/jobqueue.js": CLIENT,
    }.items():
        app.router.add_get(path, _sender(file))
    return app


def _sender(file: Path) -> Handler:
    async def send(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file, headers={"Cache-Control": "no-cache"})

    return send


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=8080)
