/** Why a queue is paused: since when, until when, by what session, and the reason that was given. */

import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Age, Instant} from "./instant.js";
import {Text} from "./text.js";

const S = STRINGS.queue;

/** @param {object} props `queue`: its document; one that is not paused draws nothing. */
export function PauseNote({queue}) {
  if (!queue.paused) return null;
  const {since, until, by, reason} = queue.pause ?? {};
  return html`
    <p class="pause-note">
      ${reason && html`<q><${Text} value=${reason} max=${160} /></q> `}
      ${since && html`<span class="muted">${S.since}</span> <${When} at=${since} />, `}
      ${by && html`<span class="muted">${S.by}</span> <${Text} value=${by} max=${60} />, `}
      ${until ? html`<span class="muted">${S.until}</span> <${When} at=${until} />` : html`<span class="muted">${S.untilResumed}</span>`}
    </p>`;
}

function When({at}) {
  return html`<${Instant} at=${at} /> (<${Age} at=${at} />)`;
}
