/** What a schedule is and does, in parts that its table and its page share. */

import {wordsOf} from "../data/recurrence.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Badge} from "./badge.js";
import {durationText} from "./duration.js";
import {Age} from "./instant.js";
import {Text} from "./text.js";

const S = STRINGS.schedules;

/** When it gives its ticks: in words, and as it is written. */
export function When({schedule}) {
  const words = wordsOf(schedule);
  return html`
    <span class="lines">
      ${words !== null && html`<span>${words}${schedule.cron !== null && `, ${schedule.tz}`}</span>`}
      ${schedule.cron !== null && html`<span class="nowrap"><code>${schedule.cron}</code>${words === null && `, ${schedule.tz}`}</span>`}
      ${schedule.jitter_s > 0 && html`<span class="muted">${S.upTo(durationText(schedule.jitter_s))}</span>`}
    </span>`;
}

/** Whether it gives ticks, and what is wrong. */
export function Condition({schedule: {pause, error}}) {
  return html`
    <span class="lines">
      <span>${pause === null ? html`<${Badge} kind="good">▶ ${S.active}<//>` : html`<${Badge} kind="warn">❚❚ ${S.paused}<//>`}</span>
      ${pause !== null && html`<span class="muted"><${Age} at=${pause.since} />${pause.by !== null && html` ${S.by} <${Text} value=${pause.by} max=${60} />`}</span>`}
      ${error !== null && html`<span class="bad-text">▲ <${Text} value=${error} max=${160} /></span>`}
    </span>`;
}

/** Its latest tick: when, and the job that came of it. */
export function LastTick({last}) {
  if (last === null) return html`<span class="muted">${S.noneYet}</span>`;
  return html`
    <span class="lines">
      <${Age} at=${last.at} />
      ${last.job_id === null ? html`<span class="muted">${S.noJob}</span>` : html`<a href=${href("job", {id: last.job_id})}>${S.itsJob}</a>`}
    </span>`;
}
