/** Repetition: what is read once is read again after a problem that may pass. */

import assert from "node:assert/strict";
import {test} from "node:test";

const listeners = new Map();
globalThis.document = {
  visibilityState: "visible",
  baseURI: "http://server/console/",
  addEventListener: (name, listener) => listeners.set(name, listener),
  querySelector: () => ({content: "../"}),
};

const {AGAIN_MS, mayPass, untilAnswered} = await import("../../../jobqueue/http/console/data/repetition.js");

const problem = (status, retryAfterS = null) => Object.assign(new Error(`HTTP ${status}`), {status, retryAfterS});

/** A read that fails with these problems, one after the other, and then answers; and when it was asked. */
function reading(...problems) {
  const asked = [];
  const read = async () => {
    asked.push(Date.now());
    if (problems.length) throw problems.shift();
    return "answer";
  };
  return {asked, read};
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

async function passed(timers, ms) {
  timers.tick(ms);
  await settled();
}

test("no answer, a broken connection and a full server may pass, all else stays", () => {
  for (const each of [problem(0), problem(429), problem(503), new TypeError("network error")]) assert.ok(mayPass(each));
  for (const each of [null, problem(400), problem(403), problem(404), problem(500)]) assert.ok(!mayPass(each));
});

test("what can't be answered is asked for again, after ever longer waits", async ({mock}) => {
  mock.timers.enable({apis: ["setTimeout", "Date"]});
  const {asked, read} = reading(problem(503), problem(0), problem(503, 10));
  const told = [];
  const answer = untilAnswered(read, {signal: new AbortController().signal, onProblem: ({status}) => told.push(status)});
  await settled();
  for (let second = 0; second < 13; second += 1) await passed(mock.timers, 1000);
  assert.equal(await answer, "answer");
  assert.deepEqual(told, [503, 0, 503]);
  assert.deepEqual(asked.map((at) => at - asked[0]), [0, AGAIN_MS, 3 * AGAIN_MS, 3 * AGAIN_MS + 10_000]);
});

test("a problem that stays ends it at once", async () => {
  const {asked, read} = reading(problem(404));
  await assert.rejects(untilAnswered(read, {signal: new AbortController().signal, onProblem: () => assert.fail("asked again")}), {status: 404});
  assert.equal(asked.length, 1);
});

test("a signal ends it while it waits", async () => {
  const stop = new AbortController();
  const {asked, read} = reading(problem(503), problem(503));
  const answer = untilAnswered(read, {signal: stop.signal, onProblem: () => setImmediate(() => stop.abort())});
  await assert.rejects(answer, {name: "AbortError"});
  assert.equal(asked.length, 1);
});

test("a hidden tab asks for nothing until it is shown again", async ({mock}) => {
  mock.timers.enable({apis: ["setTimeout", "Date"]});
  const {asked, read} = reading(problem(503));
  const answer = untilAnswered(read, {signal: new AbortController().signal, onProblem: () => undefined});
  await settled();
  const turn = (state) => {
    globalThis.document.visibilityState = state;
    listeners.get("visibilitychange")();
  };
  turn("hidden");
  await passed(mock.timers, 60_000);
  await settled();
  assert.equal(asked.length, 1);
  turn("visible");
  assert.equal(await answer, "answer");
});
