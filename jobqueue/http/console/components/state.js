/** The state of a job: its word, a shape and a colour. */

import {STRINGS} from "../strings.js";
import {html} from "../ui.js";

/** A shape for each state, in a square of 10. */
const SHAPES = {
  waiting: "M0 1h4v4H0zM6 5h4v4H6zM4 2.4h3.6V5H6.4V3.6H4z",
  delayed: "M5 0a5 5 0 1 0 0 10A5 5 0 0 0 5 0zm0 1.6a3.4 3.4 0 1 1 0 6.8 3.4 3.4 0 0 1 0-6.8zM4.4 2.6v2.7l1.9 1.4.7-.9-1.4-1V2.6z",
  queued: "M1 1h8v1.8H1zM1 4.1h8v1.8H1zM1 7.2h8V9H1z",
  running: "M1.5.5 9 5 1.5 9.5z",
  succeeded: "M3.7 9 .3 5.6l1.3-1.3 2.1 2.1L8.4 1.7 9.7 3z",
  failed: "M1.6.3 5 3.7 8.4.3l1.3 1.3L6.3 5l3.4 3.4-1.3 1.3L5 6.3 1.6 9.7.3 8.4 3.7 5 .3 1.6z",
  cancelled: "M5 0a5 5 0 1 0 0 10A5 5 0 0 0 5 0zM1.6 5a3.4 3.4 0 0 1 5.3-2.8L2.2 6.9A3.4 3.4 0 0 1 1.6 5zM5 8.4a3.4 3.4 0 0 1-1.9-.6l4.7-4.7A3.4 3.4 0 0 1 5 8.4z",
  expired: "M1 0h8v1.4L6.2 5 9 8.6V10H1V8.6L3.8 5 1 1.4z",
};

export function State({state}) {
  return html`<span class="state ${state in SHAPES ? state : ""}"><${StateShape} state=${state} />${STRINGS.states[state] ?? state}</span>`;
}

export function StateShape({state}) {
  return html`<svg viewBox="0 0 10 10" aria-hidden="true"><path d=${SHAPES[state] ?? "M2 2h6v6H2z"} /></svg>`;
}
