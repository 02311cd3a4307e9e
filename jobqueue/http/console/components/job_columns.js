/** The columns of the table of jobs, and the choice of them, which the browser keeps. */

import {useNow} from "../data/clock.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {CopyButton} from "./copy_button.js";
import {Duration} from "./duration.js";
import {Age, Instant, msOf} from "./instant.js";
import {shareText} from "./number.js";
import {State} from "./state.js";
import {Text, visibleText} from "./text.js";

const KEPT = "jobqueue.console.jobs.columns";
const T = STRINGS.jobs.columns;
const NAME_MAX = 40;

/** States of jobs that wait for something else than their turn. */
const NOT_READY = ["waiting", "delayed"];

/** Characters of an id that differ between the jobs of one run. */
const ID_SHOWN = 10;

const name = (value) => html`<${Text} value=${value} max=${NAME_MAX} />`;
const duration = (seconds) => seconds !== null && html`<${Duration} seconds=${seconds} />`;
const instant = (at) => at !== null && html`<${Instant} at=${at} />`;
const error = (of) => of && html`<code title=${visibleText(of.message, 300)}>${of.code}</code>`;

/** All columns; those with `first` are shown unless the viewer chooses. */
export const COLUMNS = [
  {key: "id", title: T.id, first: true, render: (job) => html`<${Id} job=${job} />`},
  {key: "type", title: T.type, first: true, render: (job) => name(job.type)},
  {key: "queue", title: T.queue, first: true, render: (job) => name(job.queue)},
  {key: "group", title: T.group, render: (job) => job.group !== null && name(job.group), blank: (job) => job.group === null},
  {key: "state", title: T.state, first: true, render: (job) => html`<${State} state=${job.state} />`},
  {key: "progress", title: T.progress, first: true, render: (job) => html`<${Progress} of=${job.progress} />`, blank: (job) => !job.progress},
  {key: "attempt", title: T.attempt, first: true, align: "end", render: (job) => `${job.attempt}/${job.attempts_max}`},
  {key: "priority", title: T.priority, align: "end", render: (job) => job.priority},
  {key: "age", title: T.age, first: true, align: "end", render: (job) => html`<${Age} at=${job.created_at} plain />`},
  {key: "created", title: T.created, align: "end", render: (job) => html`<${Instant} at=${job.created_at} />`},
  {key: "wait", title: T.wait, first: true, align: "end", render: (job) => html`<${Wait} job=${job} />`, blank: (job) => NOT_READY.includes(job.state)},
  {key: "run", title: T.run, first: true, align: "end", render: (job) => html`<${Run} job=${job} />`, blank: (job) => job.started_at === null},
  {key: "position", title: T.position, align: "end", render: (job) => job.position ?? "", blank: (job) => job.position === null},
  {key: "eta", title: T.eta, align: "end", render: (job) => duration(job.eta_s), blank: (job) => job.eta_s === null},
  {key: "finished", title: T.finished, align: "end", render: (job) => instant(job.finished_at), blank: (job) => !job.finished_at},
  {key: "error", title: T.error, first: true, render: (job) => error(job.error), blank: (job) => !job.error},
  {key: "message", title: T.message, render: (job) => job.error && html`<${Text} value=${job.error.message} max=${80} />`, blank: (job) => !job.error},
];

const KEYS = COLUMNS.map(({key}) => key);
const FIRST = COLUMNS.filter(({first}) => first).map(({key}) => key);

/** Return the chosen columns, and a function that chooses others (null: the first ones). */
export function useColumns() {
  const [keys, setKeys] = useState(kept);
  const choose = (chosen) => {
    const next = chosen ?? FIRST;
    setKeys(next);
    try {
      if (chosen) localStorage.setItem(KEPT, JSON.stringify(next));
      else localStorage.removeItem(KEPT);
    } catch {
      // A browser that keeps nothing: the choice holds for this page.
    }
  };
  return [keys, choose];
}

/** Return what the browser has kept: known columns alone, whatever stands there. */
function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT) ?? "null");
    const known = Array.isArray(found) ? KEYS.filter((key) => found.includes(key)) : [];
    return known.length ? known : FIRST;
  } catch {
    return FIRST;
  }
}

/** The choice of columns, opened by a button. */
export function ColumnChoice({keys, onChoose}) {
  const toggle = (key) => onChoose(KEYS.filter((each) => (each === key ? !keys.includes(key) : keys.includes(each))));
  return html`<details class="menu">
    <summary class="button">${T.choose}</summary>
    <div class="menu-body" role="group" aria-label=${T.choose}>
      ${COLUMNS.map(({key, title}) => html`<label key=${key}>
        <input type="checkbox" checked=${keys.includes(key)} disabled=${keys.length === 1 && keys[0] === key} onChange=${() => toggle(key)} />
        ${" "}${title}</label>`)}
      <button type="button" class="button small" onClick=${() => onChoose(null)}>${T.reset}</button>
    </div>
  </details>`;
}

function Id({job}) {
  return html`<span class="job-id"><a href=${href("job", {id: job.id})} title=${job.id}><code>…${job.id.slice(-ID_SHOWN)}</code></a>
    <${CopyButton} text=${job.id} label=${T.copy} /></span>`;
}

export function Progress({of}) {
  if (!of) return null;
  const share = Math.min(1, Math.max(0, of.fraction));
  return html`<span class="job-progress" title=${of.note === null ? null : visibleText(of.note, 200)}>
    <progress max="1" value=${share} aria-label=${T.progress}></progress> ${shareText(share)}</span>`;
}

/** The time that a job waited for its latest attempt, or waits now. */
function Wait({job}) {
  const now = useNow();
  if (NOT_READY.includes(job.state)) return null;
  const ready = Math.max(msOf(job.created_at), msOf(job.run_at));
  const started = msOf(job.started_at);
  if (started === null && job.state !== "queued") return null;
  const to = started ?? now;
  return html`<${Duration} seconds=${Math.max(0, to - Math.min(ready, to)) / 1000} />`;
}

/** The time that the latest attempt ran, or runs now. */
function Run({job}) {
  const now = useNow();
  const started = msOf(job.started_at);
  if (started === null || NOT_READY.includes(job.state) || job.state === "queued") return null;
  return html`<${Duration} seconds=${Math.max(0, (msOf(job.finished_at) ?? now) - started) / 1000} />`;
}
