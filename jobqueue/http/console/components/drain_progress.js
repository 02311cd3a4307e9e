/** The progress of a drain: how many jobs are left, and how many of each state. */

import {usePolled} from "../data/polling.js";
import {STRINGS} from "../strings.js";
import {html, useRef} from "../ui.js";
import {countText} from "./number.js";

const S = STRINGS.server.drain;
const EVERY_MS = 500;
const LIVE = ["running", "queued", "delayed", "waiting"];

/** @param {object} props `server`: the document of `v1/server`, while it drains. */
export function DrainProgress({server}) {
  const {document} = usePolled("v1/queues", {everyMs: EVERY_MS});
  const counts = Object.fromEntries(LIVE.map((state) => [state, (document?.queues ?? []).reduce((sum, queue) => sum + queue[state], 0)]));
  const left = document ? LIVE.reduce((sum, state) => sum + counts[state], 0) : server.jobs_live;
  const most = useRef(left);
  most.current = Math.max(most.current, left, 1);
  return html`
    <section class="card stack" aria-labelledby="drain">
      <h2 id="drain">${S.progress}</h2>
      <progress class="drain-bar" max=${most.current} value=${most.current - left} aria-label=${S.progress} />
      <p role="status"><strong>${left ? S.left(countText(left)) : S.done}</strong></p>
      <p class="row muted">${LIVE.map((state) => html`<span key=${state}>${countText(counts[state])} ${STRINGS.states[state]}</span>`)}</p>
    </section>`;
}
