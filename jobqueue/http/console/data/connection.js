/**
 * The connection: whether the server answers, since when it does not, and when it is asked again.
 *
 * Rules:
 *
 * 1. One request without an answer makes the server `gone`. Pollers then rest, and one probe asks `livez` again: after
 *    1 s, then after ever longer waits up to 5 s, while the tab is shown.
 * 2. The first answer, to any request, ends that; pollers ask again at once.
 */

import {MOUNT} from "./mount.js";
import {createStore} from "./store.js";
import {visible} from "./visibility.js";

const PROBE_MS_MIN = 1000;
const PROBE_MS_MAX = 5000;
const ANSWER_MS_MAX = 5000;

/** `goneSince`: milliseconds of the viewer's clock, or null; `nextAt`: when the probe asks next. */
export const connection = createStore({goneSince: null, nextAt: null});

let timer = null;
let waitMs = PROBE_MS_MIN;

/** Note that a request was answered. */
export function answered() {
  if (connection.get().goneSince === null) return;
  clearTimeout(timer);
  timer = null;
  waitMs = PROBE_MS_MIN;
  connection.set({goneSince: null, nextAt: null});
}

/** Note that a request had no answer. */
export function unanswered() {
  if (connection.get().goneSince !== null) return;
  connection.set({goneSince: Date.now(), nextAt: null});
  schedule();
}

/** Ask the server now, for instance because the viewer wants it. */
export async function probe() {
  clearTimeout(timer);
  timer = null;
  if (!visible.get()) return;
  try {
    await fetch(new URL("livez", MOUNT), {cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS_MAX)});
    answered();
  } catch {
    waitMs = Math.min(PROBE_MS_MAX, waitMs * 1.6);
    schedule();
  }
}

function schedule() {
  if (connection.get().goneSince === null || !visible.get()) return;
  connection.update({nextAt: Date.now() + waitMs});
  timer = setTimeout(probe, waitMs);
}

visible.subscribe((shown) => {
  if (shown && connection.get().goneSince !== null && timer === null) probe();
});
