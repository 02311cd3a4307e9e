/** The graphs that `chain` and `group` of the JavaScript client make: names and parents. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { chain, group } from "../../../clients/js/jobqueue.js";

const parentsIn = ({ jobs }) => Object.fromEntries(jobs.map(({ name, after }) => [name, after]));

test("a chain starts each part after the one before it", () => {
  const graph = chain("fetch", { type: "resize", args: { width: 128 } }, "store");
  assert.deepEqual(parentsIn(graph), { fetch: [], resize: ["fetch"], store: ["resize"] });
  assert.deepEqual(graph.jobs[1], { type: "resize", args: { width: 128 }, name: "resize", after: ["fetch"] });
});

test("a group between two jobs fans out and joins", () => {
  const graph = chain("fetch", group("resize", "resize", { type: "resize", name: "large" }), "store");
  assert.deepEqual(parentsIn(graph), {
    fetch: [],
    resize: ["fetch"],
    "resize-2": ["fetch"],
    large: ["fetch"],
    store: ["resize", "resize-2", "large"],
  });
});

test("a graph that is put into another one twice is two copies", () => {
  const part = chain("fetch", "resize");
  assert.deepEqual(parentsIn(group(part, part)), { fetch: [], resize: ["fetch"], "fetch-2": [], "resize-2": ["fetch-2"] });
  assert.deepEqual(parentsIn(part), { fetch: [], resize: ["fetch"] });
});

test("numbers go on where graphs are put together", () => {
  const graph = chain("resize", group("resize", { type: "crop", name: "resize" }), "resize");
  assert.deepEqual(graph.jobs.map(({ name }) => name), ["resize", "resize-2", "resize-3", "resize-4"]);
});

test("a graph after a job that exists still comes after the part before it", () => {
  const later = { jobs: [{ name: "resize", type: "resize", after: ["0aB000000-1c3FfGhIjKlM"] }] };
  assert.deepEqual(parentsIn(chain("fetch", later)), { fetch: [], resize: ["fetch", "0aB000000-1c3FfGhIjKlM"] });
});

test("an empty group in a chain joins its neighbours", () => {
  assert.deepEqual(parentsIn(chain("fetch", group(), "store")), { fetch: [], store: ["fetch"] });
});

test("a value that is no part of a graph is rejected", () => {
  for (const part of [3, null, undefined, { args: {} }, ["fetch"], { jobs: ["fetch"] }, { type: 5 }]) {
    assert.throws(() => chain("fetch", part), /a part of a graph is a type, a submission with a type, or a graph/);
  }
});
