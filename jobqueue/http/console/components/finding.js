/** A finding of the server: what is wrong now, why, what to do, since when, and where to look. */

import {MOUNT} from "../data/mount.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Badge} from "./badge.js";
import {Age} from "./instant.js";
import {Text, visibleText} from "./text.js";

const S = STRINGS.finding;
const KINDS = {critical: "bad", warning: "warn", info: "accent"};
const SHAPES = {critical: "■", warning: "▲", info: "●"};

/** @param {object} props `finding`: a member of `findings` in `v1/findings`. */
export function Finding({finding}) {
  const {severity, sentence, cause, remedy, since, subject, problem} = finding;
  return html`
    <li class="finding ${severity}">
      <${Badge} kind=${KINDS[severity]}><span aria-hidden="true">${SHAPES[severity]}</span> ${S.severities[severity] ?? severity}<//>
      <p><${Text} value=${sentence} max=${300} /></p>
      ${cause && html`<p><span class="muted">${S.cause}</span> <${Text} value=${cause} max=${300} /></p>`}
      ${remedy && html`<p><span class="muted">${S.remedy}</span> <${Text} value=${remedy} max=${400} /></p>`}
      <p class="row muted">
        ${since && html`<span>${S.since} <${Age} at=${since} /></span>`}
        <${Subject} subject=${subject} />
        ${problem && html`<a href=${new URL(`problems/${encodeURIComponent(problem)}`, MOUNT).href} target="_blank" rel="noreferrer">${S.explained}</a>`}
      </p>
    </li>`;
}

function Subject({subject}) {
  if (subject?.queue) return html`<a href=${href("queue", {name: subject.queue})}>${S.queue(visibleText(subject.queue, 60))}</a>`;
  if (subject?.type) return html`<a href=${href("type", {name: subject.type})}>${S.type(visibleText(subject.type, 60))}</a>`;
  if (subject?.schedule) return html`<a href=${href("schedule", {name: subject.schedule})}>${S.schedule(visibleText(subject.schedule, 60))}</a>`;
  if (subject?.webhook) return html`<a href=${href("server", {}, {tab: "webhooks"})}>${S.webhook(visibleText(subject.webhook, 60))}</a>`;
  return html`<a href=${href("server")}>${S.server}</a>`;
}
