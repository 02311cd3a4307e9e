/**
 * Repetition: what a page reads once is read again after a problem that may pass, so that no part stays empty for good.
 *
 * Rules:
 *
 * 1. No answer, a full or stopping server (429, 502, 503, 504) and a connection that breaks may pass. All else stays.
 * 2. The waits are those of the server (Retry-After), or double from `AGAIN_MS` on up to `REST_MS_MAX`. They end when the
 *    server is back, and not while the tab is hidden.
 */

import {connection} from "./connection.js";
import {visible} from "./visibility.js";

export const AGAIN_MS = 1000;
const REST_MS_MAX = 30_000;
const PASSING = [0, 429, 502, 503, 504];

/** Whether a problem may pass by itself; null is none. */
export function mayPass(problem) {
  return problem !== null && (problem.status === undefined || PASSING.includes(problem.status));
}

/**
 * Read until there is an answer.
 *
 * @param {function(): Promise<any>} read
 * @param {object} options `signal`: ends it; `onProblem(problem)`: is told of each problem that may pass.
 * @returns {Promise<any>} Rejects with a problem that stays, or with that of the signal.
 */
export async function untilAnswered(read, {signal, onProblem}) {
  for (let failures = 0; ; failures += 1) {
    try {
      return await read();
    } catch (problem) {
      if (signal.aborted || !mayPass(problem)) throw problem;
      onProblem(problem);
      const doubled = Math.min(REST_MS_MAX, AGAIN_MS * 2 ** Math.min(failures, 8));
      await rest(Math.max(doubled, (problem.retryAfterS ?? 0) * 1000), signal);
      await shown(signal);
      signal.throwIfAborted();
    }
  }
}

/** Wait, or less: until the signal, or until the server answers again. */
export function rest(ms, signal) {
  return until(signal, (end) => {
    const stop = connection.subscribe(({goneSince}) => goneSince === null && end());
    const timer = setTimeout(end, ms);
    return () => {
      stop();
      clearTimeout(timer);
    };
  });
}

/** Wait while the tab is hidden. */
function shown(signal) {
  if (visible.get()) return undefined;
  return until(signal, (end) => visible.subscribe((now) => now && end()));
}

/** Wait for an end, or for the signal. `begin(end)` returns what is done after either. */
function until(signal, begin) {
  return new Promise((resolve) => {
    const clear = begin(end);
    signal.addEventListener("abort", end, {once: true});
    function end() {
      clear();
      signal.removeEventListener("abort", end);
      resolve();
    }
  });
}
