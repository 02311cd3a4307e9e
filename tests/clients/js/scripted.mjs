/** Servers of the tests: one that gives its answers in order, and one that passes connections on until it cuts them. */

import { once } from "node:events";
import net from "node:net";

/**
 * Serve answers in order, one for each request; null closes the connection without one, and so does the end of the list.
 *
 * @param {import("node:test").TestContext} test
 * @param {...(string | null | (() => string))} answers
 */
export async function scripted(test, ...answers) {
  const script = { requests: [], times: [], url: "", sockets: new Set() };
  const server = net.createServer((socket) => {
    let received = "";
    script.sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      received += bytes.toString("latin1");
      for (;;) {
        const end = received.indexOf("\r\n\r\n");
        if (end < 0) return;
        const length = Number(/content-length: ([0-9]+)/i.exec(received.slice(0, end))?.[1] ?? 0);
        if (received.length < end + 4 + length) return;
        const [line, ...fields] = received.slice(0, end).split("\r\n");
        const headers = Object.fromEntries(fields.map((field) => [field.split(": ")[0].toLowerCase(), field.slice(field.indexOf(": ") + 2)]));
        script.requests.push({ line: line.replace(" HTTP/1.1", ""), headers, body: received.slice(end + 4, end + 4 + length) });
        script.times.push(performance.now() / 1000);
        received = received.slice(end + 4 + length);
        const next = answers.shift() ?? null;
        const answer = typeof next === "function" ? next() : next;
        if (answer === null) return socket.destroy();
        socket.write(line.startsWith("HEAD ") ? answer.slice(0, answer.indexOf("\r\n\r\n") + 4) : answer);
        if (/connection: close/i.test(answer)) return socket.end();
      }
    });
  });
  await listening(test, server, script.sockets);
  script.url = `http://127.0.0.1:${server.address().port}`;
  return script;
}

/**
 * Serve by passing bytes on to another server, and its answers back through `cut`, which may destroy the connection.
 *
 * @param {import("node:test").TestContext} test
 * @param {string} url
 * @param {(bytes: Buffer, client: net.Socket) => boolean} cut Tells whether the bytes are to be dropped with the connection.
 */
export async function relayed(test, url, cut) {
  const sockets = new Set();
  const relay = { url: "", heads: [] };
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(new URL(url).port), "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
    }
    client.on("data", (bytes) => {
      relay.heads.push(bytes.toString("latin1"));
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      if (cut(bytes, client)) client.destroy();
      else client.write(bytes);
    });
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.end());
  });
  await listening(test, server, sockets);
  relay.url = `http://127.0.0.1:${server.address().port}`;
  return relay;
}

async function listening(test, server, sockets) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  test.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}

/** A JSON answer. */
export function answer(status, document = null, headers = {}) {
  const body = document === null ? "" : JSON.stringify(document);
  return head(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body), ...headers }) + body;
}

/** A page of a proxy. */
export function page(status, text = "<html><h1>Bad Gateway</h1></html>", headers = {}) {
  return head(status, { "Content-Type": "text/html", "Content-Length": text.length, Connection: "close", ...headers }) + text;
}

/** A rejection. */
export function refusal(name, retryAfter, status = 503, members = {}) {
  const headers = { "Content-Type": "application/problem+json", "Retry-After": retryAfter };
  return answer(status, { type: `/problems/${name}`, title: name, status, detail: name, ...members }, headers);
}

/** A job's document. */
export function job(state, members = {}) {
  const absent = Object.fromEntries(["progress", "position", "eta_s", "poll_after_ms", "result", "error"].map((name) => [name, null]));
  return { id: "j", type: "t", queue: "default", state, attempt: 0, ...absent, ...members };
}

/** A flow's document. */
export function flow(state, members = {}) {
  return { id: "f", state, created_at: "2026-01-01T00:00:00Z", finished_at: null, counts: {}, evicted: 0, jobs: [], ...members };
}

/** An event stream that ends with its connection. */
export function stream(...frames) {
  return head(200, { "Content-Type": "text/event-stream", Connection: "close" }) + frames.map((frame) => `${frame}\n\n`).join("");
}

/** An event of a job. */
export function event(number, state, members = {}) {
  return `id: x-${number}\nevent: ${state}\ndata: ${JSON.stringify({ id: "j", state, attempt: 1, ...members })}`;
}

function head(status, headers) {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${status} -`, ...lines, "", ""].join("\r\n");
}
