/** The failed attempts of a job, the latest first: their errors, and the traceback with the frames of own code before all. */

import {tracebackOf} from "../data/traceback.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {CopyButton} from "./copy_button.js";
import {Duration} from "./duration.js";
import {Instant, msOf} from "./instant.js";
import {Text} from "./text.js";

const T = STRINGS.job;
const CODE_MAX = 160;

export function JobAttempts({job}) {
  if (!job.history?.length) return html`<p class="muted">${T.noFailures}</p>`;
  return html`<ol class="stack attempts">
    ${[...job.history].reverse().map((attempt) => html`<${Attempt} key=${attempt.attempt} of=${attempt} />`)}
  </ol>`;
}

function Attempt({of}) {
  const seconds = (msOf(of.ended_at) - msOf(of.started_at)) / 1000;
  return html`<li class="card stack tight">
    <div class="spread"><h3>${T.attempt(of.attempt)}: ${of.code}</h3>
      <span class="muted"><${Instant} at=${of.started_at} />, ${T.ran} <${Duration} seconds=${seconds} /></span></div>
    <p><${Text} value=${of.message} max=${400} pre /></p>
    ${of.traceback === null ? html`<p class="muted">${T.noTraceback}</p>` : html`<${Traceback} text=${of.traceback} />`}
  </li>`;
}

function Traceback({text}) {
  const {frames, cut} = tracebackOf(text);
  const own = frames.filter((frame) => frame.own).reverse();
  return html`
    ${own.length > 0 && html`<div><p class="muted">${T.ownFrames}</p>
      <ol class="frames mono">${own.map(({file, line, name, code}, index) => html`<li key=${index}>
        <${Text} value=${`${file}:${line}`} max=${CODE_MAX} /> <span class="muted"><${Text} value=${name} max=${80} /></span>
        ${code && html`<div><${Text} value=${code} max=${CODE_MAX} /></div>`}</li>`)}</ol></div>`}
    <details><summary>${T.allFrames}</summary>
      <div class="json-tools"><${CopyButton} text=${text} /></div>
      ${cut && html`<p class="muted">${T.cutTraceback}</p>`}
      <pre tabindex="0" aria-label=${T.allFrames}><${Text} value=${text} max=${4000} pre /></pre>
    </details>`;
}
