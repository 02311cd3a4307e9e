/**
 * Drain estimate: what a change of a queue's settings does to the time in which its jobs are worked off.
 *
 * The model, which the page tells beside each figure (`assumptions`):
 *
 * 1. A worker runs one job at a time, each as long as the mean of the measured runs. More workers make none slower.
 * 2. Jobs go on arriving at the measured rate.
 * 3. Where jobs wait while workers are idle, something else holds them back (a limiter, a pool, a full machine): then
 *    more workers than run now change nothing.
 * 4. Delayed jobs are not counted: they come later. Retries are, as part of the measured runs.
 * 5. The server measures runs in whole milliseconds, so those of instant jobs may add up to none: they count as one
 *    millisecond together, and the mean is said to be that at most.
 */

/** Fewer runs than this in the last minute, and a longer time is measured. */
const RUNS_MIN = 20;

/** All runs together take this at least. */
const RUN_MS_MIN = 1;

/** Seconds of the recent part of a history. */
const RECENT_S = 60;

const sum = (numbers) => (numbers ?? []).reduce((total, each) => total + each, 0);

/**
 * Return what a queue's history tells: mean run (`isAtMost`: or less), arrivals and ends per second; null: nothing was
 * recorded.
 *
 * @param {object} stats The document of `v1/stats` about this queue.
 * @param {string} name
 */
export function measured(stats, name) {
  const series = stats?.series?.find((each) => each.name === name);
  if (!series || !stats.covered_s.length) return null;
  const recent = part(stats, series, firstOf(stats.covered_s, RECENT_S));
  return recent.runs >= RUNS_MIN ? recent : part(stats, series, 0);
}

/** The index of the first point of the last so many seconds. */
function firstOf(covered, seconds) {
  let at = covered.length;
  let total = 0;
  while (at > 0 && total < seconds) total += covered[(at -= 1)];
  return at;
}

function part(stats, series, from) {
  const overS = sum(stats.covered_s.slice(from)) || 1;
  const of = (column) => sum(column?.slice(from));
  const runs = (series.runs ?? []).reduce((total, bucket) => total + of(bucket), 0);
  const runMs = of(series.run_ms);
  return {
    overS,
    runs,
    runS: runs ? Math.max(RUN_MS_MIN, runMs) / 1000 / runs : null,
    isAtMost: runMs < RUN_MS_MIN,
    arrivalsPerS: (of(series.submitted) + of(series.retried)) / overS,
    endsPerS: (of(series.succeeded) + of(series.failed) + of(series.cancelled) + of(series.expired)) / overS,
  };
}

/**
 * Estimate a queue as it is and as it would be.
 *
 * @param {object} queue Its document.
 * @param {object|null} history What `measured` returned.
 * @param {{workers?: number, capacity?: number}} change
 * @returns {{now: object, then: object, heldBack: boolean}|null} null: no run was measured, so nothing can be told.
 */
export function estimate(queue, history, change = {}) {
  if (!history?.runS) return null;
  const heldBack = isHeldBack(queue);
  const most = heldBack ? queue.running : Infinity;
  return {
    heldBack,
    now: state(queue, history, queue.workers, queue.capacity, most),
    then: state(queue, history, change.workers ?? queue.workers, change.capacity ?? queue.capacity, most),
  };
}

/** Whether jobs wait although workers are idle. */
export function isHeldBack(queue) {
  return !queue.paused && queue.queued > 0 && queue.running < queue.workers;
}

function state(queue, history, workers, capacity, most) {
  const live = queue.waiting + queue.delayed + queue.queued + queue.running;
  const ratePerS = queue.paused ? 0 : Math.min(workers, most) / history.runS;
  const growthPerS = history.arrivalsPerS - ratePerS;
  const backlog = queue.queued + queue.running;
  const room = capacity - live;
  return {
    ratePerS,
    // With a rate of exactly the arrivals it never empties.
    drainS: backlog === 0 ? 0 : growthPerS < 0 ? backlog / -growthPerS : null,
    drainWithoutArrivalsS: backlog === 0 ? 0 : ratePerS > 0 ? backlog / ratePerS : null,
    fullInS: room <= 0 ? 0 : growthPerS > 0 && backlog >= Math.min(workers, most) ? room / growthPerS : null,
    waitWhenFullS: ratePerS > 0 ? capacity / ratePerS : null,
    utilisation: ratePerS > 0 ? history.arrivalsPerS / ratePerS : null,
    over: Math.max(0, live - capacity),
  };
}

/**
 * Return a queue's share of the starts while it competes with the others that have jobs: now and with another weight.
 *
 * @param {object[]} queues All queues.
 * @param {string} name
 * @param {number} weight
 */
export function shares(queues, name, weight) {
  const rivals = queues.filter((queue) => queue.name !== name && queue.queued > 0 && !queue.paused);
  const others = sum(rivals.map((queue) => queue.weight));
  const own = queues.find((queue) => queue.name === name)?.weight ?? 1;
  return {rivals: rivals.length, now: own / (own + others), then: weight / (weight + others)};
}
