/** An event in the tail: when, what, of which job; a gap is a row of its own. */

import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Instant} from "./instant.js";
import {State} from "./state.js";
import {Text, visibleText} from "./text.js";

const S = STRINGS.live;

export const EVENT_COLUMNS = 6;

export function EventRow({event}) {
  const {name, data, gap} = event;
  if (gap) return html`<tr class="live-gap" role="row"><td role="cell" colspan=${EVENT_COLUMNS}>${S.gaps[name]}</td></tr>`;
  return html`
    <tr role="row">
      <td role="cell" data-title=${S.at}><${Instant} at=${data.at} withMs /></td>
      <td role="cell" data-title=${S.event}>${name}</td>
      <td role="cell" class="whole" data-title=${S.job}>${data.id ? html`<a class="mono" href=${href("job", {id: data.id})}>${data.id}</a>` : "–"}</td>
      <td role="cell" class="whole" data-title=${S.type}>${data.type ? html`<a href=${href("type", {name: data.type})}>${visibleText(data.type, 60)}</a>` : "–"}</td>
      <td role="cell" class="whole" data-title=${S.queue}>${data.queue ? html`<a href=${href("queue", {name: data.queue})}>${visibleText(data.queue, 60)}</a>` : "–"}</td>
      <td role="cell" data-title=${S.more}><${More} data=${data} /></td>
    </tr>`;
}

function More({data}) {
  return html`
    <span class="row">
      ${data.state && html`<${State} state=${data.state} />`}
      ${data.attempt > 1 && html`<span>${S.attempt(data.attempt)}</span>`}
      ${data.error && html`<span>${data.error.code}</span>`}
      ${data.progress && html`<span>${Math.round(data.progress.fraction * 100)} % <${Text} value=${data.progress.note ?? ""} max=${80} /></span>`}
      ${data.group && html`<span class="muted"><${Text} value=${data.group} max=${60} /></span>`}
      ${data.schedule && html`<a href=${href("schedule", {name: data.schedule})}>${visibleText(data.schedule, 60)}</a> <span>${S.outcomes[data.outcome]}</span>`}
      ${data.reason && html`<${Text} value=${data.reason} max=${120} />`}
    </span>`;
}
