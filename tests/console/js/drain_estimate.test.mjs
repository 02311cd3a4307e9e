/** The drain estimate: what a change of workers, capacity or weight does to a queue, by its measured runs. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {estimate, isHeldBack, measured, shares} from "../../../jobqueue/http/console/data/drain_estimate.js";
import {quantileS, totals, trimmed} from "../../../jobqueue/http/console/data/histogram.js";
import {Rates} from "../../../jobqueue/http/console/data/rates.js";

const queue = (changes) => ({name: "mail", workers: 4, capacity: 100, weight: 1, waiting: 0, delayed: 0, queued: 36, running: 4, paused: false, ...changes});
const history = (changes) => ({runS: 2, runs: 50, overS: 60, arrivalsPerS: 1, endsPerS: 2, ...changes});

test("twice the workers drain what is left after the arrivals three times as fast", () => {
  const {now, then, heldBack} = estimate(queue(), history(), {workers: 8});
  assert.equal(heldBack, false);
  assert.deepEqual([now.ratePerS, now.drainS], [2, 40]); // 40 jobs, 2/s worked off, 1/s arriving
  assert.deepEqual([then.ratePerS, then.drainS], [4, 40 / 3]);
  assert.deepEqual([now.drainWithoutArrivalsS, then.drainWithoutArrivalsS], [20, 10]);
  assert.deepEqual([now.utilisation, then.utilisation], [0.5, 0.25]);
});

test("a queue to which more comes than it works off never drains, and is full in a while", () => {
  const {now} = estimate(queue(), history({arrivalsPerS: 5}));
  assert.deepEqual([now.drainS, now.fullInS], [null, 20]); // room for 60, 3/s more than it works off
  assert.equal(estimate(queue(), history({arrivalsPerS: 2})).now.drainS, null);
});

test("where workers are idle while jobs wait, more of them change nothing", () => {
  const held = queue({running: 2});
  assert.ok(isHeldBack(held));
  const {now, then} = estimate(held, history(), {workers: 400});
  assert.deepEqual(then, now);
  assert.equal(now.ratePerS, 1);
});

test("a paused queue works nothing off, and is not held back by anything else", () => {
  const {now, heldBack} = estimate(queue({paused: true, running: 0}), history());
  assert.deepEqual([now.ratePerS, now.drainS, now.waitWhenFullS, heldBack], [0, null, null, false]);
});

test("an empty queue is drained", () => {
  assert.equal(estimate(queue({queued: 0, running: 0}), history()).now.drainS, 0);
});

test("a smaller capacity keeps the jobs that are over it", () => {
  const {then} = estimate(queue(), history(), {capacity: 10});
  assert.deepEqual([then.over, then.fullInS, then.waitWhenFullS], [30, 0, 5]);
});

test("without a run there is no estimate", () => {
  assert.equal(estimate(queue(), null), null);
  assert.equal(estimate(queue(), history({runS: null})), null);
});

test("the last minute is measured, or all of it where it had few runs", () => {
  const points = Array(600).fill(0);
  const series = {name: "mail", submitted: points.map(() => 1), run_ms: [...points], runs: [[...points], null]};
  series.run_ms.fill(3000, 0, 300);
  series.runs[0].fill(1, 0, 300);
  const stats = {covered_s: points.map(() => 1), series: [series]};
  assert.deepEqual(measured(stats, "mail"), {overS: 600, runs: 300, runS: 3, isAtMost: false, arrivalsPerS: 1, endsPerS: 0});
  series.run_ms.fill(500, 540);
  series.runs[0].fill(1, 540);
  assert.deepEqual(measured(stats, "mail"), {overS: 60, runs: 60, runS: 0.5, isAtMost: false, arrivalsPerS: 1, endsPerS: 0});
  assert.equal(measured(stats, "other"), null);
  assert.equal(measured(null, "mail"), null);
});

test("runs too short for the server's clock have an estimate, too", () => {
  const stats = {covered_s: [1, 1], series: [{name: "mail", submitted: [30, 0], run_ms: [0, 0], runs: [[30, 0], null]}]};
  const told = measured(stats, "mail");
  assert.deepEqual(told, {overS: 2, runs: 30, runS: 0.001 / 30, isAtMost: true, arrivalsPerS: 15, endsPerS: 0});
  assert.equal(estimate(queue(), told).now.ratePerS, 120_000);
  delete stats.series[0].run_ms;
  assert.equal(measured(stats, "mail").runS, 0.001 / 30);
  assert.equal(measured({...stats, series: [{name: "mail", submitted: [1, 0]}]}, "mail").runS, null);
});

test("a weight is a share among the queues that have jobs waiting", () => {
  const queues = [queue(), queue({name: "video", weight: 3}), queue({name: "idle", queued: 0}), queue({name: "rest", paused: true})];
  assert.deepEqual(shares(queues, "mail", 3), {rivals: 1, now: 0.25, then: 0.5});
  assert.deepEqual(shares([queue()], "mail", 3), {rivals: 0, now: 1, then: 1});
});

test("a histogram adds up its points, and knows its quantiles", () => {
  const counts = totals([null, [1, 1], [0, 2], [0, 0]]);
  assert.deepEqual(counts, [0, 2, 2, 0]);
  assert.deepEqual(trimmed([1, 2, 4], counts), [{count: 2, fromS: 1, toS: 2}, {count: 2, fromS: 2, toS: 4}]);
  assert.equal(quantileS([1, 2, 4], counts, 0.5), 2);
  assert.equal(quantileS([1, 2, 4], counts, 1), 4);
  assert.equal(quantileS([1, 2, 4], [0, 0, 0, 1], 0.5), 4);
  assert.equal(quantileS([1, 2, 4], totals(undefined), 0.5), null);
});

test("rates are growths of totals over the last seconds, and unknown after a restart", () => {
  const rates = new Rates();
  const add = (atMs, total) => rates.add(atMs, new Map([["mail", {in: total}]]));
  add(0, 0);
  assert.equal(rates.perS("mail", "in"), null);
  for (let n = 1; n <= 1000; n += 1) add(n * 1000, n * 7);
  assert.equal(rates.perS("mail", "in"), 7);
  assert.ok(rates.points.length < 100);
  add(1_001_000, 0);
  assert.equal(rates.perS("mail", "in"), null);
  assert.equal(rates.perS("other", "in"), null);
});
