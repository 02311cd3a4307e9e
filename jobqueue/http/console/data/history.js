/**
 * History: what queues or types did, in points of one length, put together from answers of `v1/stats`.
 *
 * Rules:
 *
 * 1. The first request asks for the whole range, each later one for what came since: two points, mostly.
 * 2. A history has the points of its range and no more, so that a page that is open for a day holds no more than one that
 *    was just opened.
 * 3. A point without a sample is a gap: its numbers are null.
 */

import {useFolded} from "./polling.js";

/** Ranges to choose from: seconds, and those of a point, as the rings of the server have them. */
export const RANGES = {
  "5m": {rangeS: 300, stepS: 1},
  "30m": {rangeS: 1800, stepS: 10},
  "3h": {rangeS: 10_800, stepS: 60},
  "24h": {rangeS: 86_400, stepS: 300},
};

export const ENDS = ["succeeded", "failed", "cancelled", "expired"];

const COUNTS = ["submitted", "retried", "started", ...ENDS, "wait_ms", "run_ms"];
const GAUGES = ["waiting", "running"];
const EVERY_MS_MAX = 30_000;

/**
 * Return a history that is kept fresh: `{history: {points, boundsS}|null, problem}`, the oldest point first. A point has
 * `at` (seconds), `coveredS`, the members of a series as sums over all series, `refused` by slug, `waits` and `runs`.
 *
 * @param {object} options `range`: a name of `RANGES`; `by`: queue or type; `name`: of one of them alone.
 */
export function useHistory({range = "5m", by = "queue", name} = {}) {
  const {rangeS, stepS} = RANGES[range] ?? RANGES["5m"];
  const {document, problem} = useFolded(JSON.stringify([range, by, name ?? null]), "v1/stats", {
    query: (history) => ({by, name, step: stepS, since: sinceOf(history, rangeS)}),
    fold: (history, answer) => folded(history, answer, rangeS / stepS),
    everyMs: Math.min(EVERY_MS_MAX, Math.max(1000, stepS * 500)),
  });
  return {history: document, problem};
}

function sinceOf(history, rangeS) {
  const beginning = Date.now() / 1000 - rangeS;
  const last = history?.points.at(-1);
  return (last ? Math.max(beginning, last.at) : beginning).toFixed(3);
}

function folded(history, answer, pointsMax) {
  const points = pointsOf(answer);
  const from = points.length ? points[0].at - answer.step_s / 2 : Infinity;
  const before = (history?.points ?? []).filter(({at}) => at < from);
  return {points: [...before, ...points].slice(-pointsMax), boundsS: answer.bounds_s, stepS: answer.step_s};
}

function pointsOf(answer) {
  const first = Date.parse(answer.since) / 1000;
  const buckets = answer.bounds_s.length + 1;
  return answer.covered_s.map((coveredS, n) => {
    const point = {at: first + n * answer.step_s, coveredS, refused: {}, waits: Array(buckets).fill(0), runs: Array(buckets).fill(0)};
    for (const member of [...COUNTS, ...GAUGES]) point[member] = 0;
    for (const series of answer.series) addTo(point, series, n);
    return point;
  });
}

function addTo(point, series, n) {
  for (const member of [...COUNTS, ...GAUGES]) point[member] += series[member]?.[n] ?? 0;
  for (const [slug, counts] of Object.entries(series.refused ?? {})) {
    if (counts[n]) point.refused[slug] = (point.refused[slug] ?? 0) + counts[n];
  }
  for (const member of ["waits", "runs"]) {
    for (const [bucket, counts] of (series[member] ?? []).entries()) point[member][bucket] += counts?.[n] ?? 0;
  }
}

/** Return a member of each point per second; null for a gap. */
export function ratesOf(points, member) {
  return points.map((point) => (point.coveredS ? point[member] / point.coveredS : null));
}

/** Return a gauge of each point; null for a gap. */
export function gaugesOf(points, member) {
  return points.map((point) => (point.coveredS ? point[member] : null));
}
