/** The layout of a flow's graph: layers, order within them, edges that pass no job. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {edgeCount, JOB_HEIGHT, JOB_WIDTH, layersOf, layoutOf} from "../../../jobqueue/http/console/data/flow_layout.js";

const job = (id, ...after) => ({id, after});

function overlapping({jobs}) {
  return jobs.flatMap((one, at) =>
    jobs.slice(at + 1).filter((other) => one.x === other.x && Math.abs(one.y - other.y) < JOB_HEIGHT).map(({id}) => [one.id, id]),
  );
}

test("a job is one layer after the last of its parents", () => {
  const layers = layersOf([job("a"), job("b", "a"), job("c", "a", "b"), job("d")]);
  assert.deepEqual([...layers], [["a", 0], ["b", 1], ["c", 2], ["d", 0]]);
});

test("parents that are not held have no edges", () => {
  const jobs = [job("a", "gone"), job("b", "a", "gone")];
  assert.equal(edgeCount(jobs), 1);
  assert.deepEqual(layoutOf(jobs).edges.map(({from, to}) => [from, to]), [["a", "b"]]);
});

test("no two jobs overlap, and all of them are within the picture", () => {
  const jobs = [job("a"), ...Array.from({length: 20}, (_, n) => job(`m${n}`, "a")), job("z", ...Array.from({length: 20}, (_, n) => `m${n}`), "a")];
  const layout = layoutOf(jobs);
  assert.deepEqual(overlapping(layout), []);
  for (const {x, y} of layout.jobs) assert.ok(x >= 0 && y >= 0 && x + JOB_WIDTH <= layout.width && y + JOB_HEIGHT <= layout.height);
  assert.equal(layout.edges.length, 41);
});

test("parallel chains keep their lines, so that no edge crosses another", () => {
  const layout = layoutOf([job("a1"), job("b1"), job("b2", "b1"), job("a2", "a1"), job("a3", "a2"), job("b3", "b2")]);
  const y = Object.fromEntries(layout.jobs.map(({id, y: at}) => [id, at]));
  assert.ok(y.a1 < y.b1 && y.a2 < y.b2 && y.a3 < y.b3);
});

test("an edge over a layer has a place beside the jobs of that layer", () => {
  const layout = layoutOf([job("a"), job("b", "a"), job("c", "a", "b")]);
  const long = layout.edges.find(({from, to}) => from === "a" && to === "c");
  const passed = layout.jobs.find(({id}) => id === "b");
  const passes = Number(/H/.test(long.path) && long.path.match(/ ([\d.]+)H/)[1]);
  assert.ok(passes < passed.y || passes > passed.y + JOB_HEIGHT);
});

test("nothing has a layout, too", () => assert.deepEqual(layoutOf([]).jobs, []));
