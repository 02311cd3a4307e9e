/** The JavaScript client with scripted answers: of a busy server, of proxies, of broken connections. */

import assert from "node:assert/strict";
import net from "node:net";
import { once } from "node:events";
import { test } from "node:test";

import * as jobqueue from "../../../clients/js/jobqueue.js";
import { answer, event, flow, job, page, refusal, scripted, stream } from "./scripted.mjs";

const { Client } = jobqueue;
const MANY = { retryForS: 10 };
const LONG_AGO = "Sun, 06 Nov 1994 08:49:37 GMT";

/** A client with an own key, which each test gives: the environment has one, too. */
function clientOf(script, options = {}) {
  return new Client(script.url, { key: "", timeoutS: 2, retryReadsForS: 0, ...options });
}

const keysOf = (script) => script.requests.map(({ headers }) => headers["idempotency-key"]);

test("a rejection is repeated no sooner than it asks, under the same key", async (test) => {
  const script = await scripted(test, refusal("queue-full", 1), refusal("quota-exceeded", 9, 429, { retry_after_s: 0.2 }), answer(202, job("queued")));
  assert.equal((await clientOf(script).submit({ type: "t" }, MANY)).id, "j");
  const [first, second, third] = script.times;
  assert.ok(second - first >= 1, `${second - first}`);
  assert.ok(third - second >= 0.2 && third - second < 9, `${third - second}`); // the document is more precise than the header
  assert.equal(new Set(keysOf(script)).size, 1);
});

test("a rejection is an error at once without patience, and where it asks for more than there is", async (test) => {
  const script = await scripted(test, refusal("queue-full", 60), refusal("draining", 60), refusal("quota-exceeded", 7, 429));
  const client = clientOf(script);
  await assert.rejects(client.submit({ type: "t" }), (error) => error instanceof jobqueue.QueueFull && error.retryAfterS === 60);
  await assert.rejects(client.submit({ type: "t" }, MANY), jobqueue.Draining);
  await assert.rejects(client.submit({ type: "t" }), (error) => error instanceof jobqueue.RateLimited && error.retryAfterS === 7);
});

test("each submission has a key of its own", async (test) => {
  const script = await scripted(test, answer(202, job("queued")), answer(202, job("queued")));
  await clientOf(script).submit({ type: "t" });
  await clientOf(script).submit({ type: "t" });
  const [one, other] = keysOf(script);
  assert.match(one, /^"[0-9a-f]{32}"$/);
  assert.notEqual(one, other);
});

for (const status of [500, 502, 503, 504, 521, 408]) {
  test(`a submission that a proxy answers with ${status} is sent again under its key`, async (test) => {
    const script = await scripted(test, page(status, "x", { "Retry-After": 0 }), null, answer(202, job("queued")));
    await clientOf(script).submit({ type: "t" }, MANY);
    assert.equal(script.requests.length, 3);
    assert.equal(new Set(keysOf(script)).size, 1);
  });
}

test("an unknown fate stays unknown, and has the key", async (test) => {
  const script = await scripted(test, page(502), page(504, "late", { "Retry-After": 0 }), refusal("queue-full", 60));
  const client = clientOf(script);
  await assert.rejects(client.submit({ type: "t" }), (error) => {
    assert.ok(error instanceof jobqueue.FateUnknown);
    assert.match(error.message, /HTTP 502, not from the job server.*: Bad Gateway; /);
    assert.deepEqual([error.status, `"${error.idempotencyKey}"`], [502, keysOf(script)[0]]);
    return true;
  });
  await assert.rejects(client.submit({ type: "t" }, { retryForS: 5 }), jobqueue.FateUnknown);
});

test("a page in place of an answer to a submission leaves its fate unknown", async (test) => {
  const script = await scripted(test, page(200, "<html>Welcome"), page(200, "<html>Welcome"));
  await assert.rejects(clientOf(script).submit({ type: "t" }), (error) => error instanceof jobqueue.FateUnknown && error.status === 200);
  const [outcome] = await clientOf(script).submitMany([{ type: "t" }]);
  assert.ok(outcome instanceof jobqueue.FateUnknown);
});

test("an answer that isn't this API's is named as such", async (test) => {
  const script = await scripted(test, page(200, "<html>Welcome"), answer(200, { no: "job" }), page(413, "<h1>Too Large</h1>"), page(404));
  const client = clientOf(script);
  await assert.rejects(client.get("j"), /HTTP 200: text\/html instead of JSON; this URL is not the job server's: Welcome/);
  await assert.rejects(client.get("j"), /HTTP 200: not an answer of this API/);
  await assert.rejects(client.get("j"), /HTTP 413: not from the job server.*: Too Large/);
  await assert.rejects(client.get("j"), (error) => error instanceof jobqueue.ErrorAnswer && error.status === 404);
});

test("a redirect is not followed", async (test) => {
  const script = await scripted(test, page(301, "", { Location: "https://elsewhere.example/v1/jobs" }));
  await assert.rejects(clientOf(script).submit({ type: "t" }, MANY), /redirected to https:\/\/elsewhere.example\/v1\/jobs; give the client/);
  assert.equal(script.requests.length, 1);
});

test("reads are repeated, actions are not", async (test) => {
  const found = answer(200, job("succeeded"), { "Job-State": "succeeded" });
  const script = await scripted(test, page(502, "x", { "Retry-After": 0 }), null, found, null);
  const client = clientOf(script, { retryReadsForS: 10 });
  assert.equal((await client.get("j")).state, "succeeded");
  assert.equal(script.requests.length, 3);
  await assert.rejects(client.cancel("j"), jobqueue.FateUnknown);
  assert.equal(script.requests.length, 4);
});

test("a server that keeps silent is no answer", async (test) => {
  const script = await scripted(test, "", "", () => answer(200, job("queued")).slice(0, -5));
  const client = clientOf(script, { timeoutS: 0.2 });
  await assert.rejects(client.get("j"), (error) => error.constructor === jobqueue.NoAnswer && /timed out/.test(error.message));
  await assert.rejects(client.submit({ type: "t" }), (error) => error instanceof jobqueue.FateUnknown && /timed out/.test(error.message));
  await assert.rejects(client.get("j"), jobqueue.NoAnswer); // its body stops halfway
});

test("a server that doesn't listen is unreachable; a submission waits for it", async () => {
  const probe = net.createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  const client = new Client(`http://127.0.0.1:${port}`, { key: "" });
  const began = performance.now();
  await assert.rejects(client.get("j"), (error) => error instanceof jobqueue.Unreachable && /ECONNREFUSED/.test(error.message));
  const read = performance.now(); // it is not repeated, or it would take retryReadsForS
  assert.ok(read - began < 4000);
  await assert.rejects(client.submit({ type: "t" }, { retryForS: 1.5 }), jobqueue.Unreachable);
  assert.ok(performance.now() - read > 1000);
});

test("a wait asks for 25 s at most, with the tag that it knows", async (test) => {
  const live = job("running", { poll_after_ms: 100 });
  const script = await scripted(test, answer(202, live, { ETag: 'W/"2"' }), answer(304, null, { "Retry-After": 0 }), answer(200, job("succeeded")));
  assert.equal((await clientOf(script).wait("j")).state, "succeeded");
  assert.deepEqual(script.requests.map(({ headers }) => [headers.prefer, headers["if-none-match"]]), [
    ["wait=25", undefined],
    ["wait=25", 'W/"2"'],
    ["wait=25", 'W/"2"'],
  ]);
  const [first, second] = script.times;
  assert.ok(second - first >= 0.1); // the server did not wait, so the client must not ask at once
});

test("a wait that a proxy cuts off is repeated at half its length, and goes on through a busy server", async (test) => {
  const script = await scripted(test, page(504, "x", { "Retry-After": 0 }), refusal("overloaded", 0), answer(200, job("succeeded")));
  await clientOf(script).wait("j");
  assert.deepEqual(script.requests.map(({ headers }) => headers.prefer), ["wait=25", "wait=12", "wait=12"]);
});

test("a flow with a lost answer is submitted again under its key", async (test) => {
  const script = await scripted(test, page(502, "x", { "Retry-After": 0 }), refusal("queue-full", 0), answer(202, flow("running"), { "Job-Deduplicated": "true" }), page(200));
  const client = clientOf(script);
  const graph = { jobs: [{ name: "a", type: "t", run_at: new Date(Date.parse(LONG_AGO)) }] };
  const submitted = await client.submitFlow(graph, MANY);
  assert.deepEqual([submitted.id, submitted.deduplicated], ["f", true]);
  assert.deepEqual(script.requests.map(({ line }) => line), Array(3).fill("POST /v1/flows"));
  assert.equal(new Set(keysOf(script)).size, 1);
  assert.equal(JSON.parse(script.requests[2].body).jobs[0].run_at, "1994-11-06T08:49:37.000Z");
  await assert.rejects(client.submitFlow(graph, { idempotencyKey: "k" }), (error) => error instanceof jobqueue.FateUnknown && error.idempotencyKey === "k");
});

test("a wait for a flow is repeated until it has ended, and is over after its time", async (test) => {
  const script = await scripted(
    test,
    page(504, "x", { "Retry-After": 0 }),
    answer(202, flow("running"), { ETag: 'W/"2"', "Retry-After": 0 }),
    answer(304, null, { "Retry-After": 0 }),
    answer(200, flow("failed")),
    answer(202, flow("running")),
    answer(200, job("succeeded")),
  );
  const client = clientOf(script);
  assert.equal((await client.waitFlow("f")).state, "failed");
  assert.deepEqual(script.requests.map(({ line, headers }) => [line, headers.prefer, headers["if-none-match"]]), [
    ["GET /v1/flows/f", "wait=25", undefined],
    ["GET /v1/flows/f", "wait=12", undefined],
    ["GET /v1/flows/f", "wait=12", 'W/"2"'],
    ["GET /v1/flows/f", "wait=12", 'W/"2"'],
  ]);
  await assert.rejects(client.waitFlow("f", { timeoutS: 0 }), (error) => {
    assert.ok(error instanceof jobqueue.WaitTimeout);
    assert.deepEqual([error.message, error.jobId, error.flowId], ["flow f is still running after 0 s", null, "f"]);
    return true;
  });
  await assert.rejects(client.waitFlow("f"), /not an answer of this API/);
});

test("schedules are read page by page, and pages without end are an error", async (test) => {
  const page = (name, cursor) => answer(200, { schedules: [{ name }], next_cursor: cursor });
  const script = await scripted(test, page("a", "c 1"), page("b", null), page("a", "c"), page("a", "c"));
  assert.deepEqual((await clientOf(script).schedules()).map(({ name }) => name), ["a", "b"]);
  assert.deepEqual(script.requests.map(({ line }) => line), ["GET /v1/schedules?limit=1000", "GET /v1/schedules?limit=1000&cursor=c+1"]);
  await assert.rejects(clientOf(script).schedules(), /pages without end/);
});

test("a submission that waits stops to wait once its answer was lost", async (test) => {
  const script = await scripted(test, page(504, "x", { "Retry-After": 0 }), answer(200, job("succeeded", { result: 4 })));
  assert.equal(await clientOf(script).run({ type: "t" }, MANY), 4);
  assert.deepEqual(script.requests.map(({ headers }) => headers.prefer), ["wait=25", undefined]);
});

test("a Retry-After may be a date, counted from the answer's own", async (test) => {
  const date = new Date(Date.parse(LONG_AGO) + 3000).toUTCString();
  const script = await scripted(
    test,
    page(429, "slow", { "Retry-After": date, Date: LONG_AGO }),
    page(429, "slow", { "Retry-After": LONG_AGO }),
    page(429, "slow", { "Retry-After": "1e400" }),
    page(429, "slow", { "Retry-After": "9".repeat(400) }),
  );
  for (const expected of [3, 1, 1, 86_400]) {
    await assert.rejects(clientOf(script).submit({ type: "t" }), (error) => error instanceof jobqueue.RateLimited && error.retryAfterS === expected);
  }
});

test("a stream of events may arrive in any pieces", async (test) => {
  const bytes = Buffer.from(
    "\uFEFFretry: 150\r\n\r\n: a comment\r\rid: x-1\revent: started\rdata: {\"state\":\"running\",\r\ndata: \"note\":\"gr\u00fc\u00dfe \u{1F600}\"}\n\n" +
      event(2, "succeeded") + "\n\n" + event(3, "failed") + "\n\n",
  );
  for (const size of [1, 2, 3, 7, bytes.length]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => bytes.subarray(n * size, (n + 1) * size));
    const body = new ReadableStream({ start: (to) => { pieces.forEach((piece) => to.enqueue(new Uint8Array(piece))); to.close(); } });
    const fetch = async () => new Response(body, { headers: { "Content-Type": "text/event-stream; charset=utf-8" } });
    const heard = [];
    for await (const each of new Client("http://queue.example", { key: "", fetch }).events("j")) heard.push(each);
    assert.deepEqual(heard.map(({ id, name, over }) => [id, name, over]), [["x-1", "started", false], ["x-2", "succeeded", true]]);
    assert.equal(heard[0].data.note, "grüße \u{1F600}");
  }
});

test("a stream is opened again after its retry, with the last id", async (test) => {
  const script = await scripted(
    test,
    stream("retry: 300", event(1, "running")),
    stream(event(2, "running")) + 'id: x-9\ndata: {"half":',
    stream(": no event"),
    refusal("too-many-long-polls", 0),
    null,
    stream(event(3, "succeeded")),
  );
  const heard = [];
  for await (const each of clientOf(script).events("j", { retryForS: 5 })) heard.push(each.id);
  assert.deepEqual(heard, ["x-1", "x-2", "x-3"]);
  assert.deepEqual(script.requests.map(({ headers }) => headers["last-event-id"]), [undefined, "x-1", "x-2", "x-2", "x-2", "x-2"]);
  assert.ok(script.times[1] - script.times[0] >= 0.3);
  assert.equal(script.requests[0].headers.accept, "text/event-stream");
});

test("a stream that can't be opened is an error when its patience is over", async (test) => {
  const script = await scripted(test, refusal("too-many-long-polls", 60), page(502), answer(200, {}), stream("data: nonsense"), answer(204));
  const events = async (options) => { for await (const _ of clientOf(script).events("j", options)); };
  await assert.rejects(events({ retryForS: 1 }), jobqueue.Refused);
  await assert.rejects(events({ retryForS: 0 }), jobqueue.NoAnswer);
  await assert.rejects(events(), /not an event stream/);
  await assert.rejects(events(), /not an event of this API: nonsense/);
  await events({ lastEventId: "x-4" }); // 204: the end was received already
});

test("an abort ends a pause between two tries", async (test) => {
  const script = await scripted(test, refusal("queue-full", 20));
  const began = performance.now();
  const call = clientOf(script).submit({ type: "t" }, { retryForS: 60, signal: AbortSignal.timeout(200) });
  await assert.rejects(call, { name: "TimeoutError" });
  assert.ok(performance.now() - began < 20_000);
});

test("a batch is divided, and what was rejected for now is sent again", async (test) => {
  const accepted = (...ids) => answer(207, { jobs: ids.map((id) => ({ status: 202, id })) });
  const full = { status: 503, problem: { type: "/problems/queue-full", detail: "full", retry_after_s: 0.1 } };
  const script = await scripted(test, answer(207, { jobs: [{ status: 202, id: "a" }, full] }), accepted("c"), accepted("b"));
  const large = { type: "t", args: { text: "x".repeat(262_144) } };
  assert.deepEqual(await clientOf(script).submitMany([{ type: "t" }, { type: "u" }, large], MANY), ["a", "b", "c"]);
  assert.deepEqual(script.requests.map(({ body }) => JSON.parse(body).jobs.length), [2, 1, 1]);
  assert.ok(script.requests.every(({ headers }) => !("idempotency-key" in headers)));
});

test("addresses and keys that can't be used are errors at once, and no message shows a key", () => {
  for (const [url, options, message] of [
    ["", {}, /no server URL: give one, or set JOBQUEUE_URL/],
    ["127.0.0.1:8080", {}, /"127.0.0.1:8080" is not a server URL; expected a URL such as/],
    ["ftp://x", {}, /is not a server URL/],
    ["http://x/?a=1", {}, /is not a server URL/],
    ["http://x:99999", {}, /is not a server URL/],
    ["unix:/run/jobqueue.sock", {}, /fetch connects to no Unix socket/],
    ["http://x", { key: "jq_verysecret part" }, /the key is no API key/],
    ["http://x", { key: "jq_verysecret\n" }, /begins or ends with a blank or a line break/],
    ["http://x", { key: "Bearer jq_verysecret" }, /the key alone, without 'Bearer'/],
    ["http://x", { key: 5 }, /the key must be a string/],
    ["http://ada:verysecret@x", { key: "jq_a" }, /a key and a user in the URL are two credentials/],
    ["http://x", { key: "jq_a", headers: { authorization: "Basic x" } }, /two credentials/],
    ["ftp://ada:verysecret@x", {}, /ftp:\/\/ada@x/],
  ]) {
    assert.throws(() => new Client(url, options), (error) => {
      assert.ok(error instanceof TypeError, String(error));
      assert.match(error.message, message);
      assert.ok(!error.message.includes("verysecret"), error.message);
      return true;
    });
  }
});

test("options and submissions of a wrong kind are named before anything is sent", async () => {
  const client = new Client("http://127.0.0.1:9", { key: "" });
  for (const [call, message] of [
    [() => client.submit("echo", { hello: "world" }), /expected an object, such as \{ type: "echo", args: .*\}, not "echo"/],
    [() => client.submit({ type: "echo" }, { retryForS: "30" }), /retryForS is a number of seconds from 0 on, not "30"/],
    [() => client.submit({ type: "echo" }, { waitS: -1 }), /waitS is a number of seconds from 0 on, not -1/],
    [() => client.run({ type: "echo" }, { waitS: NaN }), /waitS is a number of seconds from 0 on, not NaN/],
    [() => client.wait("j", { timeoutS: null }), /timeoutS is a number of seconds from 0 on, not null/],
    [() => client.submitMany(["echo"]), /expected an object/],
    [() => client.events("j", { retryForS: true }).next(), /retryForS is a number/],
    [async () => new Client("http://127.0.0.1:9", { timeoutS: "5" }), /timeoutS is a number/],
  ]) {
    await assert.rejects(call(), { name: "TypeError", message });
  }
});

test("the key, a user in the URL and own headers are sent; a prefix of the URL is kept", async (test) => {
  const found = answer(200, { queues: [] });
  const script = await scripted(test, found, found, found);
  await clientOf(script, { key: "jq_k_s", headers: { "X-Own": "1" } }).queues();
  await new Client(`${script.url.replace("//", "//ada:p%40ss@")}/jobs/`).queues();
  await new Client(script.url, { headers: { authorization: "Custom x" } }).queues();
  const sent = script.requests.map(({ line, headers }) => [line, headers.authorization, headers["x-own"]]);
  assert.deepEqual(sent, [
    ["GET /v1/queues", "Bearer jq_k_s", "1"],
    ["GET /jobs/v1/queues", `Basic ${btoa("ada:p@ss")}`, undefined],
    ["GET /v1/queues", "Custom x", undefined],
  ]);
});

test("texts of a proxy are shown without the keys that they repeat", async (test) => {
  const script = await scripted(test, page(400, "<p>Authorization: Bearer jq_abc_verysecret1 rejected"), answer(401, { type: "/problems/unauthorized", detail: "jq_abc_verysecret2" }));
  for (const kind of [jobqueue.ErrorAnswer, jobqueue.Unauthorized]) {
    await assert.rejects(clientOf(script).get("j"), (error) => error instanceof kind && !error.message.includes("verysecret"));
  }
});

test("an id can't leave its path", async (test) => {
  const script = await scripted(test, answer(200, job("succeeded")));
  await clientOf(script).get("../queues?x=1#y");
  assert.equal(script.requests[0].line, "GET /v1/jobs/..%2Fqueues%3Fx%3D1%23y");
});
