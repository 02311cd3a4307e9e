"""Pages of another origin: a server of empty pages, and attempts of their scripts against a job queue.

An attempt is the body of an async function; `base` is the job queue's URL, `job` a delayed job's id. It waits until
the browser has a response or gives up, and returns the result that the page sees.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from tests.e2e.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PRELUDE = """
const JOB = '{"type":"echo"}';
const PAUSE = `${base}/v1/queues/default:pause`;
const JSON_TYPE = {'Content-Type': 'application/json'};
const fetched = async (url, options) => {
  const response = await fetch(url, options);
  return response.type === 'opaque' ? 'opaque' : String(response.status);
};
const post = (url, options) => fetched(url, {method: 'POST', ...options});
const form_data = (...fields) => {
  const data = new FormData();
  for (const [name, value] of fields) data.append(name, value);
  return data;
};
const form = (action, enctype, ...fields) => new Promise(resolve => {
  const target = `into-${document.forms.length}`;
  const frame = Object.assign(document.createElement('iframe'), {name: target});
  const made = Object.assign(document.createElement('form'), {action, enctype, method: 'POST', target});
  for (const [name, value] of fields) made.append(Object.assign(document.createElement('input'), {name, value}));
  document.body.append(frame, made);
  frame.onload = () => resolve('the frame has loaded');
  made.submit();
});
const xhr = (method, url, type, body) => new Promise(resolve => {
  const request = new XMLHttpRequest();
  request.open(method, url);
  if (type) request.setRequestHeader('Content-Type', type);
  request.onload = () => resolve(String(request.status));
  request.onerror = () => resolve('network error');
  request.send(body);
});
const beacon = async body => {
  const queued = navigator.sendBeacon(`${base}/v1/jobs`, body);
  await new Promise(resolve => setTimeout(resolve, 300));
  return `queued: ${queued}`;
};
const element = (name, attributes) => new Promise(resolve => {
  const made = Object.assign(document.createElement(name), attributes);
  made.onload = () => resolve('loaded');
  made.onerror = () => resolve('error');
  document.body.append(made);
});
const opened = source => new Promise(resolve => {
  source.onopen = () => { source.close(); resolve('open'); };
  source.onerror = () => { source.close(); resolve('error'); };
});
const sandboxed = script => {
  const heard = new Promise(resolve => addEventListener('message', event => resolve(event.data), {once: true}));
  const frame = Object.assign(document.createElement('iframe'), {sandbox: 'allow-scripts'});
  const tell = "then(() => 'opaque', String).then(told => parent.postMessage(told, '*'))";
  frame.srcdoc = `<script>${script}.${tell}</` + 'script>';
  document.body.append(frame);
  return heard;
};
"""


class Attempt(NamedTuple):
    """An attempt of a page.

    Attributes:
        name: As a person reads it.
        script: The body of an async function.
    """

    name: str
    script: str


CHANGES = (
    Attempt(
        "form, text/plain, submits",
        """return form(`${base}/v1/jobs`, 'text/plain', [JOB.slice(0, -1) + ',"group":"', '"}'])""",
    ),
    Attempt("form, multipart, submits", "return form(`${base}/v1/jobs`, 'multipart/form-data', ['job', JOB])"),
    Attempt("form, pauses a queue", "return form(PAUSE, 'text/plain')"),
    Attempt("fetch no-cors, pauses a queue", "return post(PAUSE, {mode: 'no-cors'})"),
    Attempt("fetch no-cors, keepalive, pauses a queue", "return post(PAUSE, {mode: 'no-cors', keepalive: true})"),
    Attempt("fetch no-cors, text/plain, submits", "return post(`${base}/v1/jobs`, {mode: 'no-cors', body: JOB})"),
    Attempt(
        "fetch no-cors, FormData with a file, submits",
        "const body = form_data(['job', JOB], ['f', new Blob(['x'])]);"
        "return post(`${base}/v1/jobs`, {mode: 'no-cors', body})",
    ),
    Attempt("fetch no-cors, cancels a job", "return post(`${base}/v1/jobs/${job}:cancel`, {mode: 'no-cors'})"),
    Attempt("fetch cors, JSON, submits (preflight)", "return post(`${base}/v1/jobs`, {headers: JSON_TYPE, body: JOB})"),
    Attempt("fetch cors, FormData, submits", "return post(`${base}/v1/jobs`, {body: form_data(['job', JOB])})"),
    Attempt("fetch cors, DELETE (preflight)", "return fetched(`${base}/v1/jobs/${job}`, {method: 'DELETE'})"),
    Attempt(
        "fetch no-cors of a sandboxed frame (Origin: null)",
        "return sandboxed(`fetch('${PAUSE}', {method: 'POST', mode: 'no-cors'})`)",
    ),
    Attempt(
        "XMLHttpRequest, PATCH of a queue (preflight)",
        """return xhr('PATCH', `${base}/v1/queues/default`, 'application/json', '{"workers":1}')""",
    ),
    Attempt("XMLHttpRequest, pauses a queue", "return xhr('POST', PAUSE, null, null)"),
    Attempt("sendBeacon, text/plain, submits", "return beacon(new Blob([JOB], {type: 'text/plain'}))"),
    Attempt("sendBeacon, FormData, submits", "return beacon(form_data(['job', JOB]))"),
    Attempt("WebSocket", "return opened(new WebSocket(`${base.replace('http', 'ws')}/v1/events`))"),
)

READS = (
    Attempt("<img>", "return element('img', {src: `${base}/v1/jobs/${job}/result`})"),
    Attempt("<script>", "return element('script', {src: `${base}/v1/queues`})"),
    Attempt("<link rel=stylesheet>", "return element('link', {rel: 'stylesheet', href: `${base}/v1/jobs`})"),
    Attempt("<iframe>", "return element('iframe', {src: `${base}/v1/queues`})"),
    Attempt("fetch no-cors", "return fetched(`${base}/v1/queues`, {mode: 'no-cors'})"),
    Attempt("fetch cors", "return fetched(`${base}/v1/queues`)"),
    Attempt(
        "fetch cors, waits (preflight)", "return fetched(`${base}/v1/jobs/${job}`, {headers: {Prefer: 'wait=60'}})"
    ),
    Attempt("EventSource", "return opened(new EventSource(`${base}/v1/events`))"),
)


def script_of(attempt: Attempt) -> str:
    """Return an attempt as a function of `[base, job]`; an exception is a result, too."""
    return f"async ([base, job]) => {{ {PRELUDE}; try {{ return await (async () => {{ {attempt.script} }})() }} " + (
        "catch (error) { return String(error) } }"
    )


async def _page(request: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>a page</title><body></body>", content_type="text/html")


async def _client(request: web.Request) -> web.FileResponse:
    return web.FileResponse(ROOT / "clients/js/jobqueue.js")


@contextlib.asynccontextmanager
async def page_server() -> AsyncIterator[int]:
    """Serve an empty page on 127.0.0.1 for any host name, and the JavaScript client; yield the port."""
    app = web.Application()
    app.router.add_get("/jobqueue.js", _client)
    app.router.add_get("/{path:.*}", _page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.port
    finally:
        await runner.cleanup()
