/**
 * The timeline of a job: when it was delayed, waited, ran and backed off, from its document.
 *
 * Rules:
 *
 * 1. A failed attempt is in the job's history, of which the server keeps the latest ten; the latest attempt is in the job.
 * 2. `run_at` is known of the next attempt alone: between earlier attempts, backoff and wait are one segment.
 */

/**
 * @typedef {object} Segment
 * @property {"delay"|"wait"|"backoff"|"between"|"run"} kind
 * @property {number} from Unix milliseconds.
 * @property {number} to Unix milliseconds.
 */

/**
 * @typedef {object} Row An attempt, with what came before it.
 * @property {number|null} attempt Its number; null: none has begun.
 * @property {Segment[]} segments
 * @property {string|null} end How it ended: an error code, a state; `running`; null: it has not begun.
 */

/**
 * Return the rows of a job's timeline.
 *
 * @param {object} job Its document.
 * @param {number} now Unix milliseconds, by the server's clock.
 * @returns {{rows: Row[], from: number, to: number, missing: number}} `missing` counts the attempts that aren't kept.
 */
export function timelineOf(job, now) {
  const failed = job.history ?? [];
  const finished = job.finished_at === null ? null : Date.parse(job.finished_at);
  const from = Date.parse(job.created_at);
  const rows = [];
  let at = failed.length && failed[0].attempt > 1 ? Date.parse(failed[0].started_at) : from;
  for (const {attempt, started_at: started, ended_at: ended, code} of failed) {
    const [begin, end] = [Date.parse(started), Date.parse(ended)];
    const before = rows.length ? "between" : "wait";
    rows.push({attempt, segments: segments([before, at, begin], ["run", begin, end]), end: code});
    at = end;
  }
  const latestFailed = failed.at(-1)?.attempt === job.attempt;
  if (!latestFailed && job.started_at !== null) {
    const begin = Date.parse(job.started_at);
    const end = finished ?? Math.max(now, begin);
    rows.push({attempt: job.attempt, segments: [...waits(job, rows.length > 0, at, begin), ...segments(["run", begin, end])], end: job.state});
  } else if (finished === null || (job.attempt === 0 && !failed.length)) {
    const end = finished ?? now;
    rows.push({attempt: null, segments: waits(job, rows.length > 0, at, Math.max(end, at)), end: null});
  }
  const ends = rows.flatMap((row) => row.segments.map((each) => each.to));
  return {rows, from, to: Math.max(from + 1, finished ?? 0, ...ends), missing: Math.max(0, (failed[0]?.attempt ?? 1) - 1)};
}

/** Return the time before an attempt, in two parts: until it might start, and until it did. */
function waits(job, again, from, to) {
  const due = Math.min(Math.max(Date.parse(job.run_at), from), to);
  return segments([again ? "backoff" : "delay", from, due], ["wait", due, to]);
}

function segments(...parts) {
  return parts.filter(([kind, from, to]) => to > from || kind === "run").map(([kind, from, to]) => ({kind, from, to}));
}
