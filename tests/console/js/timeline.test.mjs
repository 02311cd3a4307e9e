/** The timeline of a job, and the frames of a traceback. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {timelineOf} from "../../../jobqueue/http/console/data/timeline.js";
import {tracebackOf} from "../../../jobqueue/http/console/data/traceback.js";

const at = (second) => new Date(1_700_000_000_000 + second * 1000).toISOString();
const NOW = 1_700_000_100_000;
const job = (changes) => ({state: "queued", attempt: 0, created_at: at(0), run_at: at(0), started_at: null, finished_at: null, history: null, ...changes});
const failed = (attempt, from, to) => ({attempt, started_at: at(from), ended_at: at(to), code: "handler_error"});

/** Return rows as short texts: `wait 0-2, run 2-5: succeeded`. */
function rowsOf(document) {
  const short = ({kind, from, to}) => `${kind} ${(from - 1_700_000_000_000) / 1000}-${(to - 1_700_000_000_000) / 1000}`;
  return timelineOf(document, NOW).rows.map(({attempt, segments, end}) => `${attempt}: ${segments.map(short).join(", ")}: ${end}`);
}

test("a job that waits has its wait until now", () => {
  assert.deepEqual(rowsOf(job()), ["null: wait 0-100: null"]);
  assert.deepEqual(rowsOf(job({state: "delayed", run_at: at(500)})), ["null: delay 0-100: null"]);
  assert.deepEqual(rowsOf(job({run_at: at(40)})), ["null: delay 0-40, wait 40-100: null"]);
});

test("a run is a bar until its end, or until now", () => {
  assert.deepEqual(rowsOf(job({state: "running", attempt: 1, started_at: at(2)})), ["1: wait 0-2, run 2-100: running"]);
  const ended = job({state: "succeeded", attempt: 1, started_at: at(2), finished_at: at(5)});
  assert.deepEqual(rowsOf(ended), ["1: wait 0-2, run 2-5: succeeded"]);
  assert.equal(timelineOf(ended, NOW).to, Date.parse(at(5)));
});

test("failed attempts come from the history, with a backoff before the next one", () => {
  const between = job({state: "delayed", attempt: 1, run_at: at(130), started_at: at(2), history: [failed(1, 2, 5)]});
  assert.deepEqual(rowsOf(between), ["1: wait 0-2, run 2-5: handler_error", "null: backoff 5-100: null"]);
  const again = job({state: "succeeded", attempt: 3, run_at: at(20), started_at: at(21), finished_at: at(22), history: [failed(1, 2, 5), failed(2, 9, 10)]});
  assert.deepEqual(rowsOf(again), ["1: wait 0-2, run 2-5: handler_error", "2: between 5-9, run 9-10: handler_error", "3: backoff 10-20, wait 20-21, run 21-22: succeeded"]);
});

test("a failed job has no row beyond its last attempt", () => {
  const dead = job({state: "failed", attempt: 1, started_at: at(2), finished_at: at(5), history: [failed(1, 2, 5)]});
  assert.deepEqual(rowsOf(dead), ["1: wait 0-2, run 2-5: handler_error"]);
});

test("a job cancelled before its first attempt has only its wait", () => {
  assert.deepEqual(rowsOf(job({state: "cancelled", finished_at: at(7)})), ["null: wait 0-7: null"]);
});

test("attempts that the server does not keep are counted", () => {
  const many = job({state: "failed", attempt: 12, started_at: at(50), finished_at: at(51), history: [failed(11, 40, 41), failed(12, 50, 51)]});
  assert.equal(timelineOf(many, NOW).missing, 10);
});

test("clocks that disagree make no bar of negative length", () => {
  for (const document of [job({created_at: at(500)}), job({state: "running", attempt: 1, started_at: at(300)})]) {
    for (const {segments} of timelineOf(document, NOW).rows) for (const {from, to} of segments) assert.ok(to >= from);
  }
});

const TRACEBACK = `Traceback (most recent call last):
  File "/srv/app/.venv/lib/python3.11/site-packages/jobqueue/runtime/steps.py", line 12, in run
    return step()
  File "/srv/app/tasks.py", line 40, in thumb
    image = Image.open(path)
            ^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/pathlib.py", line 900, in open
    return io.open(self)
  File "<frozen importlib._bootstrap>", line 241, in _call
FileNotFoundError: no such file: 'a.png'
`;

test("the frames of own code are told from those of libraries", () => {
  const {frames, last, cut} = tracebackOf(TRACEBACK);
  assert.deepEqual(frames.filter(({own}) => own), [{file: "/srv/app/tasks.py", line: 40, name: "thumb", code: "image = Image.open(path)", own: true}]);
  assert.equal(frames.length, 4);
  assert.equal(frames.at(-1).code, "");
  assert.equal(last, "FileNotFoundError: no such file: 'a.png'");
  assert.equal(cut, false);
  assert.equal(tracebackOf(TRACEBACK.slice(100)).cut, true);
});

test("any text is a traceback without frames", () => {
  assert.deepEqual(tracebackOf("").frames, []);
  assert.deepEqual(tracebackOf("<script>\u0000").frames, []);
});
