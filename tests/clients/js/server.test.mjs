/** The JavaScript client with a real server: `JOBQUEUE_URL` and `JOBQUEUE_KEY` name it, and are the client's defaults. */

import assert from "node:assert/strict";
import { File } from "node:buffer"; // Node 18 has no global one
import { test } from "node:test";

import * as jobqueue from "../../../clients/js/jobqueue.js";
import { relayed } from "./scripted.mjs";

const { Client } = jobqueue;
const client = new Client();
const URL_OF_SERVER = process.env.JOBQUEUE_URL;

test("a job is submitted, read and waited for", async () => {
  const job = await client.submit({ type: "echo", args: { value: 7 } });
  assert.equal(job.deduplicated, false);
  const ended = await client.wait(job.id, { timeoutS: 10 });
  assert.equal(ended.state, "succeeded");
  assert.equal(ended.result, 7);
  assert.equal(await client.result(job.id), 7);
  const status = await client.status(job.id);
  assert.deepEqual([status.code, status.state, status.over], [200, "succeeded", true]);
  assert.match(status.etag, /^W\/"/);
});

test("members of a document come on request", async () => {
  const { id } = await client.submit({ type: "echo", args: { value: 7 }, delay_s: 60 });
  assert.deepEqual((await client.get(id, { include: ["args", "spec"] })).args, { value: 7 });
  assert.ok(!("args" in (await client.get(id))));
  await assert.rejects(client.get(id, { include: ["arg"] }), (error) => error instanceof jobqueue.ErrorAnswer && error.status === 400);
  await client.cancel(id);
});

test("run returns the result of a job", async () => {
  assert.equal(await client.run({ type: "echo", args: { value: 3 } }), 3);
  assert.equal(await client.run({ type: "echo", args: { value: 4 }, run_at: new Date(Date.now() + 200) }, { waitS: 10 }), 4);
});

test("run rejects with the error of a failed job", async () => {
  await assert.rejects(client.run({ type: "fail", args: { message: "no such town" } }), (error) => {
    assert.ok(error instanceof jobqueue.JobFailed);
    assert.deepEqual([error.state, error.code, error.reason], ["failed", "handler_error", "ValueError: no such town"]);
    return true;
  });
});

test("run tells the progress of a job", async () => {
  const told = [];
  const onProgress = (each) => {
    told.push(each);
    if (each.state === "delayed") client.runNow(each.id); // now that the stream is open
  };
  assert.equal(await client.run({ type: "steps", args: { count: 3 }, delay_s: 60 }, { onProgress, waitS: 20 }), 3);
  assert.deepEqual(told.at(-1), { id: told[0].id, state: "succeeded", attempt: 1, fraction: 1, note: "step 3" });
  assert.ok(told.some(({ state, note }) => state === "running" && note === "step 2"), JSON.stringify(told));
});

test("the progress of a job is an async iterator that ends with the job", async () => {
  const { id } = await client.submit({ type: "steps", args: { count: 4 }, delay_s: 60 });
  const states = new Set();
  const fractions = new Set();
  for await (const { state, fraction } of client.progress(id)) {
    states.add(state);
    fractions.add(fraction);
    if (state === "delayed") await client.runNow(id);
  }
  assert.deepEqual([...states], ["delayed", "queued", "running", "succeeded"]);
  assert.deepEqual([...fractions], [null, 0.25, 0.5, 0.75, 1]);
});

test("a wait ends after its time", async () => {
  const { id } = await client.submit({ type: "sleep", args: { seconds: 30 } });
  await assert.rejects(client.wait(id, { timeoutS: 0.3 }), (error) => error instanceof jobqueue.WaitTimeout && error.state === "running");
  await assert.rejects(client.run({ type: "sleep", args: { seconds: 30 } }, { waitS: 0.3 }), jobqueue.WaitTimeout);
  await assert.rejects(client.run({ type: "sleep", args: { seconds: 30 } }, { waitS: 0.3, onProgress: () => {} }), jobqueue.WaitTimeout);
  const cancelled = await client.cancelAll({ type: "sleep" });
  assert.equal(cancelled.count, 3);
});

test("each call ends at the abort of its signal", async () => {
  const { id } = await client.submit({ type: "sleep", args: { seconds: 30 } });
  const reason = new Error("the user has left the page");
  for (const call of [
    (signal) => client.wait(id, { signal }),
    (signal) => client.run({ type: "sleep", args: { seconds: 30 } }, { signal }),
    (signal) => client.run({ type: "sleep", args: { seconds: 30 } }, { signal, onProgress: () => {} }),
    async (signal) => { for await (const _ of client.events(id, { signal })); },
    async (signal) => { for await (const _ of client.events(null, { signal })); },
  ]) {
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 100);
    await assert.rejects(call(controller.signal), (error) => error === reason);
  }
  await assert.rejects(client.get(id, { signal: AbortSignal.abort(reason) }), (error) => error === reason);
  assert.equal((await client.get(id)).state, "running");
  await client.cancelAll({ type: "sleep" });
});

test("files are uploaded with their names and media types", async () => {
  const files = {
    text: new File(["of a page"], "page.txt", { type: "text/plain" }),
    blob: new Blob(["{}"], { type: "application/json" }),
    many: [new Uint8Array([1, 2, 3]), { content: "häuser\n", name: 'a "b".csv', type: "text/csv" }],
  };
  const found = await client.run({ type: "names" }, { files });
  const octets = "application/octet-stream";
  assert.deepEqual(found, [
    ["text", "page.txt", "text/plain", 9],
    ["blob", "blob", "application/json", 2],
    ["many", "many", octets, 3],
    ["many", 'a "b".csv', "text/csv", 8],
  ]);
  const form = new FormData();
  form.append("picked", new File(["x"], "x.bin"));
  assert.deepEqual(await client.run({ type: "names" }, { files: form }), [["picked", "x.bin", octets, 1]]);
});

test("files that can't be sent are an error before anything is sent", async () => {
  const form = new FormData();
  form.append("title", "no file");
  for (const [files, message] of [
    [{ job: "x" }, /no file may be named 'job'/],
    [form, /the field 'title' of the form is no file: put it into args/],
    [{ a: 5 }, /the file 'a' must be a Blob, a File, bytes, a string/],
    [{ a: null }, /the file 'a' must be a Blob/],
  ]) {
    await assert.rejects(client.submit({ type: "names" }, { files }), { name: "TypeError", message });
  }
});

test("a result file is downloaded", async () => {
  const { id } = await client.submit({ type: "upper" }, { files: { text: "grüße" }, waitS: 10 });
  await assert.rejects(client.result(id), { name: "TypeError", message: /is a file of text\/plain.*: use download\(\)/ });
  const response = await client.download(id);
  assert.match(response.headers.get("content-type"), /^text\/plain/);
  assert.equal(await response.text(), "GRÜSSE");
  const json = await client.submit({ type: "echo", args: { value: 1 } }, { waitS: 10 });
  assert.equal(await (await client.download(json.id)).json(), 1);
});

test("there is no result of a failed, a live or an unknown job", async () => {
  const failed = await client.submit({ type: "fail", args: { message: "x" } }, { waitS: 10 });
  const live = await client.submit({ type: "echo", delay_s: 60 });
  for (const call of ["result", "download"]) {
    await assert.rejects(client[call](failed.id), jobqueue.JobFailed);
    await assert.rejects(client[call](live.id), (error) => error instanceof jobqueue.WrongState && error.state === "delayed");
    await assert.rejects(client[call]("never"), jobqueue.JobNotFound);
  }
  await client.cancel(live.id);
});

test("a full queue rejects, and says when to come back", async () => {
  const held = await client.submit({ type: "echo", delay_s: 60, queue: "small" });
  await assert.rejects(client.submit({ type: "echo", queue: "small" }), (error) => {
    assert.ok(error instanceof jobqueue.QueueFull);
    assert.ok(error.retryAfterS > 0);
    return true;
  });
  await client.cancel(held.id);
});

test("a rejected submission is repeated after its Retry-After", async () => {
  const statuses = [];
  const watching = async (...request) => {
    const response = await fetch(...request);
    statuses.push(response.status);
    return response;
  };
  const limited = new Client(URL_OF_SERVER, { key: process.env.LIMITED_KEY, fetch: watching });
  await limited.submit({ type: "echo" });
  await assert.rejects(limited.submit({ type: "echo" }), (error) => error instanceof jobqueue.RateLimited && error.retryAfterS <= 2);
  const job = await limited.submit({ type: "echo", args: { value: 5 } }, { retryForS: 30, waitS: 10 });
  assert.equal(job.result, 5);
  assert.deepEqual(statuses, [202, 429, 429, 200]);
});

test("a submission with a lost answer becomes one job", async (test) => {
  let lost = 0;
  const relay = await relayed(test, URL_OF_SERVER, (bytes) => bytes.includes("HTTP/1.1 20") && lost++ === 0);
  const job = await new Client(relay.url).submit({ type: "counted" }, { retryForS: 20 });
  assert.equal(lost, 2);
  assert.equal(job.deduplicated, true);
  const keys = relay.heads.flatMap((head) => /idempotency-key: (\S+)/i.exec(head)?.[1] ?? []);
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
  assert.equal((await client.wait(job.id)).result, 1);
});

test("the own key of a submission finds the job of an earlier one", async () => {
  const first = await client.submit({ type: "echo" }, { idempotencyKey: 'order "17"' });
  const again = await client.submit({ type: "echo" }, { idempotencyKey: 'order "17"' });
  assert.deepEqual([again.id, again.deduplicated], [first.id, true]);
  await assert.rejects(client.submit({ type: "echo", args: { value: 1 } }, { idempotencyKey: 'order "17"' }), jobqueue.KeyReused);
  await assert.rejects(client.submit({ type: "echo" }, { idempotencyKey: "schlüssel" }), /1 to 255 printable ASCII characters/);
});

test("events are resumed over a cut: each comes once, in order", async (test) => {
  let cuts = 0;
  const relay = await relayed(test, URL_OF_SERVER, (bytes) => bytes.includes("step 2") && cuts++ < 1);
  const { id } = await client.submit({ type: "steps", args: { count: 4 }, delay_s: 60 });
  const heard = [];
  for await (const event of new Client(relay.url).events(id)) {
    heard.push(event);
    if (event.state === "delayed") await client.runNow(id);
  }
  assert.ok(cuts > 1);
  const resumed = relay.heads.flatMap((head) => /last-event-id: (\S+)/i.exec(head)?.[1] ?? []);
  assert.equal(resumed.length, 1);
  const numbers = heard.map((each) => Number(each.id.split("-")[1]));
  assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b));
  assert.equal(heard.at(-1).name, "succeeded");
  const notes = heard.filter(({ name }) => name === "progress").map(({ data }) => data.progress.note);
  assert.deepEqual(notes, ["step 1", "step 2", "step 3", "step 4"]);
});

test("a stream of all jobs says reset where its events are no longer held", async () => {
  for await (const event of client.events(null, { lastEventId: "0123456789ab-7" })) {
    assert.deepEqual([event.name, event.state], ["reset", null]);
    break;
  }
});

test("a publish is done once under its key, and its job has the data", async () => {
  const first = await client.publish("order.paid", 17, { idempotencyKey: "js" });
  assert.deepEqual([first.topic, first.subscribers, first.deduplicated], ["order.paid", 1, false]);
  const again = await client.publish("order.paid", 17, { idempotencyKey: "js" });
  assert.deepEqual([again.jobs, again.deduplicated], [first.jobs, true]);
  assert.deepEqual((await client.wait(first.jobs[0].id)).result, ["order.paid", 17]);
  await assert.rejects(client.publish("order.paid", 18, { idempotencyKey: "js" }), jobqueue.KeyReused);
  await assert.rejects(client.publish("order.paid", "x"), (error) => error.errors[0].pointer === "/data");
  await assert.rejects(client.publish("a..b"), (error) => error instanceof jobqueue.ErrorAnswer && error.status === 400);
  assert.equal((await client.publish("nothing.here")).subscribers, 0);
  assert.deepEqual((await client.topics()).subscribers.map(({ name }) => name), ["hear"]);
});

test("a listener gets the data of the topics that match", async () => {
  const listening = client.listen("user.*", { lastEventId: "0123456789ab-7" });
  assert.deepEqual(Object.values((await listening.next()).value).slice(1, 4), ["reset", null, null]);
  await client.publish("user.new", { name: "Ada" });
  const { value } = await listening.next();
  assert.deepEqual([value.name, value.topic, value.data, value.omittedBytes], ["published", "user.new", { name: "Ada" }, null]);
  await listening.return();
  await assert.rejects(client.listen("a.>.b").next(), jobqueue.ErrorAnswer);
});

test("a flow runs its jobs after their parents", async () => {
  const graph = { jobs: [{ name: "second", type: "echo", args: { value: 2 }, after: ["first"] }, { name: "first", type: "echo", args: { value: 1 } }] };
  const submitted = await client.submitFlow(graph, { idempotencyKey: "flow" });
  assert.equal(submitted.deduplicated, false);
  const again = await client.submitFlow(graph, { idempotencyKey: "flow" });
  assert.deepEqual([again.id, again.deduplicated], [submitted.id, true]);
  const ended = await client.waitFlow(submitted.id, { timeoutS: 20 });
  assert.deepEqual([ended.state, ended.counts.succeeded], ["succeeded", 2]);
  assert.ok(!("job" in ended.jobs[0]));
  const { jobs } = await client.flow(submitted.id, { includeJobs: true });
  assert.deepEqual(jobs.map(({ name, job }) => [name, job.result]), [["first", 1], ["second", 2]]);
  await assert.rejects(client.retryFlow(submitted.id), (error) => error instanceof jobqueue.WrongState && error.state === "succeeded");
  await assert.rejects(client.submitFlow({ jobs: [{ name: "a", type: "echo", after: ["b"] }] }), (error) => error.errors[0].pointer === "/jobs/0/after/0");
  await assert.rejects(client.flow("never"), jobqueue.JobNotFound);
});

test("flows and their jobs are listed by pages", async () => {
  const graph = jobqueue.chain("echo", jobqueue.group("echo", "echo"));
  const { id } = await client.submitFlow(graph);
  await client.waitFlow(id, { timeoutS: 20 });
  const page = await client.flows({ limit: 1 });
  assert.deepEqual([page.flows[0].id, page.flows[0].ended.succeeded], [id, 3]);
  const ids = [];
  for await (const flow of client.iterFlows({ state: "succeeded", limit: 1 })) ids.push(flow.id);
  assert.ok(ids.includes(id) && new Set(ids).size === ids.length);
  const first = await client.flow(id, { limit: 2 });
  const rest = await client.flow(id, { limit: 2, cursor: first.next_cursor });
  const names = [];
  for await (const { name, job } of client.iterFlowJobs(id, { includeJobs: true, limit: 1 })) names.push(name, job.state);
  assert.deepEqual([...first.jobs, ...rest.jobs].map(({ name }) => name), ["echo", "echo-2", "echo-3"]);
  assert.deepEqual(names, ["echo", "succeeded", "echo-2", "succeeded", "echo-3", "succeeded"]);
});

test("the events of a flow end with it", async () => {
  const { id } = await client.submitFlow({ jobs: [{ name: "a", type: "echo", delay_s: 0.2 }, { name: "b", type: "echo", after: ["a"] }] });
  const heard = [];
  for await (const event of client.flowEvents(id)) heard.push(event);
  assert.deepEqual([heard[0].name, heard[0].data.state, heard.at(-1).name, heard.at(-1).data.state], ["flow", "running", "flow", "succeeded"]);
  assert.equal(heard.filter(({ name }) => name === "succeeded").length, 2);
  await assert.rejects(client.flowEvents("never").next(), jobqueue.JobNotFound);
});

test("a flow is cancelled as one", async () => {
  const { id } = await client.submitFlow({ jobs: [{ name: "late", type: "echo", delay_s: 60 }, { name: "last", type: "echo", after: ["late"] }] });
  await assert.rejects(client.waitFlow(id, { timeoutS: 0.1 }), (error) => error instanceof jobqueue.WaitTimeout && error.flowId === id);
  assert.deepEqual((await client.flow(id)).jobs.map(({ state }) => state), ["delayed", "waiting"]);
  assert.equal((await client.cancelFlow(id)).state, "cancelled");
  await assert.rejects(client.cancelFlow(id), jobqueue.WrongState);
});

test("a failed flow is retried from what failed on", async () => {
  const graph = { jobs: [{ name: "a", type: "echo" }, { name: "b", type: "fail", args: { message: "x" }, after: ["a"] }, { name: "c", type: "echo", after: ["b"] }] };
  const { id } = await client.submitFlow(graph);
  const failed = await client.waitFlow(id, { timeoutS: 20 });
  assert.deepEqual([failed.state, failed.jobs.map(({ state }) => state)], ["failed", ["succeeded", "failed", "cancelled"]]);
  assert.deepEqual((await client.retryFlow(id)).jobs.map(({ state }) => state), ["succeeded", "queued", "waiting"]);
  assert.equal((await client.waitFlow(id, { timeoutS: 20 })).state, "failed");
});

test("a schedule is put, run, paused, resumed and deleted", async () => {
  const put = await client.putSchedule("nightly", { type: "echo", args: { value: 3 }, cron: "0 3 * * *", tz: "Europe/Berlin" });
  assert.deepEqual([put.name, put.source, put.cron], ["nightly", "api", "0 3 * * *"]);
  assert.deepEqual((await client.schedules()).map(({ name }) => name), ["fixed", "nightly"]);
  assert.equal((await client.wait((await client.runSchedule("nightly")).id)).result, 3);
  assert.ok((await client.pauseSchedule("nightly")).pause);
  assert.equal((await client.resumeSchedule("nightly")).pause, null);
  const { next_runs: nextRuns, submitted_total: submitted } = await client.schedule("nightly");
  assert.deepEqual([nextRuns.length, submitted], [5, 1]);
  await client.deleteSchedule("nightly");
  for (const call of ["schedule", "deleteSchedule", "runSchedule", "pauseSchedule", "resumeSchedule"]) {
    await assert.rejects(client[call]("nightly"), jobqueue.ScheduleNotFound);
  }
  await assert.rejects(client.deleteSchedule("fixed"), jobqueue.ScheduleFixed);
  await assert.rejects(client.putSchedule("other", { type: "echo", every_s: 0 }), (error) => error.errors[0].pointer === "/every_s");
});

test("a schedule that skips runs no second job beside its live one", async () => {
  await client.putSchedule("long", { type: "sleep", args: { seconds: 60 }, every_s: 86_400 });
  const { id } = await client.runSchedule("long");
  await assert.rejects(client.runSchedule("long"), (error) => error instanceof jobqueue.Duplicate && error.jobId === id);
  await client.cancel(id);
  await client.deleteSchedule("long");
});

test("what is invalid is named by JSON pointers", async () => {
  const submission = { type: "sleep", args: { seconds: -1, minutes: 2 } };
  await assert.rejects(client.submit(submission), (error) => {
    assert.ok(error instanceof jobqueue.InvalidSubmission);
    assert.deepEqual(error.errors.map(({ pointer }) => pointer).sort(), ["/args/minutes", "/args/seconds"]);
    assert.match(error.message, /\/args\/seconds: /);
    return true;
  });
  await assert.rejects(client.submit({ type: "never" }), jobqueue.UnknownType);
  await assert.rejects(client.submit({ type: "echo", args: { value: NaN } }), { name: "TypeError", message: "value: JSON has no NaN" });
});

test("a unique value that is taken names the job that has it", async () => {
  const unique = { value: "one", mode: "reject" };
  const { id } = await client.submit({ type: "echo", delay_s: 60, unique });
  await assert.rejects(client.submit({ type: "echo", unique }), (error) => error instanceof jobqueue.Duplicate && error.jobId === id);
  assert.equal((await client.runNow(id)).state, "queued");
});

test("a batch has an outcome for each of its submissions, in order", async () => {
  const many = Array.from({ length: 1200 }, (_, n) => ({ type: n === 5 ? "never" : "echo", args: { value: n } }));
  const outcomes = await client.submitMany(many);
  assert.equal(outcomes.length, 1200);
  assert.ok(outcomes[5] instanceof jobqueue.UnknownType);
  const ids = [outcomes[4], outcomes[6], outcomes[1199]];
  for (const id of ids) await client.wait(id);
  const found = await client.getMany([...ids, "never"]);
  assert.deepEqual(ids.map((id) => found.get(id).result), [4, 6, 1199]);
  assert.ok(found.get("never") instanceof jobqueue.JobNotFound);
  assert.deepEqual(await client.submitMany([]), []);
});

test("lists are read page by page", async () => {
  const made = [];
  for (let n = 0; n < 5; n++) made.unshift((await client.submit({ type: "echo", group: "pages" }, { waitS: 5 })).id);
  const page = await client.list({ group: "pages", limit: 2 });
  assert.equal(page.jobs.length, 2);
  const found = [];
  for await (const each of client.iterAll({ group: "pages", limit: 2 })) found.push(each.id);
  assert.deepEqual(found, made);
});

test("failed jobs are retried, jobs deleted, and their ids are gone", async () => {
  const { id } = await client.submit({ type: "fail", args: { message: "x" } }, { waitS: 10 });
  assert.equal((await client.retry(id)).state, "queued");
  await client.wait(id);
  assert.equal((await client.retryAll({ type: "fail", state: "failed" })).count >= 1, true);
  assert.deepEqual(await client.runAllNow({ group: "none" }), { count: 0 });
  await client.wait(id);
  await client.delete(id);
  for (const call of ["get", "status", "wait"]) {
    await assert.rejects(client[call](id), (error) => error instanceof jobqueue.JobGone && error.reason === "evicted");
  }
  await assert.rejects(client.status("never"), jobqueue.JobNotFound);
});

test("queues are read, paused, resumed and changed", async () => {
  assert.deepEqual((await client.queues()).map(({ name }) => name).sort(), ["default", "small"]);
  assert.equal((await client.pause("small")).paused, true);
  assert.equal((await client.resume("small")).paused, false);
  const question = { arrivals_per_s: 1, run_s: 1, seconds: 1, loads: [1], alternatives: [{ workers: 2 }] };
  assert.equal((await client.simulateQueue("small", question)).alternatives[1].settings.workers, 2);
  assert.equal((await client.changeQueue("small", { weight: 3 })).weight, 3);
  await assert.rejects(client.changeQueue("small", { weight: 0 }), jobqueue.InvalidSubmission);
  await assert.rejects(client.pause("never"), (error) => error instanceof jobqueue.ErrorAnswer && error.status === 404);
});

test("types, statistics and the server are read", async () => {
  const types = await client.types();
  const sleep = types.find(({ type }) => type === "sleep");
  assert.ok(sleep, JSON.stringify(types.map(({ type }) => type)));
  const stats = await client.stats({ by: "type", name: "sleep", since: new Date(Date.now() - 60_000) });
  assert.equal(stats.by, "type");
  assert.match((await client.server()).version, /^[0-9]+\.[0-9]+/);
  const reader = new Client(URL_OF_SERVER, { key: process.env.READER_KEY });
  await assert.rejects(reader.server(), (error) => error instanceof jobqueue.Forbidden && error.scope === "admin");
  await assert.rejects(client.stats({ by: "colour" }), (error) => error instanceof jobqueue.ErrorAnswer && error.status === 400);
});

test("the server is steered by an admin", async () => {
  assert.equal((await client.jobType("sleep")).type, "sleep");
  await assert.rejects(client.jobType("slep"), (error) => error instanceof jobqueue.ErrorAnswer && /sleep/.test(error.message));
  const problems = await client.problems();
  assert.ok(problems.some(({ type }) => type === "/problems/queue-full"), JSON.stringify(problems[0]));
  assert.deepEqual((await client.reload()).changed, []);
  assert.ok(await client.setLogLevel("info"));
  await assert.rejects(client.setLogLevel("loud"), jobqueue.InvalidSubmission);
  const reader = new Client(URL_OF_SERVER, { key: process.env.READER_KEY });
  await assert.rejects(reader.drain(), (error) => error instanceof jobqueue.Forbidden && error.scope === "admin");
});

test("a key that is unknown or lacks a scope is named as such", async () => {
  const stranger = new Client(URL_OF_SERVER, { key: "" });
  await assert.rejects(stranger.queues(), jobqueue.Unauthorized);
  await assert.rejects(async () => { for await (const _ of stranger.events()); }, jobqueue.Unauthorized);
  const [outcome] = await stranger.submitMany([{ type: "echo" }]);
  assert.ok(outcome instanceof jobqueue.Unauthorized);
  const reader = new Client(URL_OF_SERVER, { key: process.env.READER_KEY });
  await assert.rejects(reader.submit({ type: "echo" }), (error) => error instanceof jobqueue.Forbidden && error.scope === "submit");
});

test("nothing shows the key", async () => {
  const { inspect } = await import("node:util");
  const key = process.env.JOBQUEUE_KEY;
  for (const shown of [inspect(client, { depth: 5, showHidden: true }), JSON.stringify(client), String(client)]) {
    assert.ok(!shown.includes(key));
  }
});
