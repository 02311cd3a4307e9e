/** The facts of a job: its state with progress and ETA, and a list of its options and instants. */

import {useNow} from "../data/clock.js";
import {filterText} from "../data/filter.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {durationText} from "./duration.js";
import {Age, Instant} from "./instant.js";
import {Progress} from "./job_columns.js";
import {LineageFacts} from "./lineage_facts.js";
import {bytesText, countText} from "./number.js";
import {State} from "./state.js";
import {Text} from "./text.js";

const T = STRINGS.job;
const F = T.fields;

/** The line below the heading: state, progress, place in the queue, end. `at`: when the document was read. */
export function JobStatus({job, at}) {
  return html`<div class="row job-status" role="status">
    <${State} state=${job.state} />
    ${job.progress && html`<${Progress} of=${job.progress} />`}
    ${job.progress?.note && html`<${Text} value=${job.progress.note} max=${200} />`}
    ${job.position !== null && html`<span>${F.position} ${countText(job.position)}${job.position === 1 && ` (${T.next})`}</span>`}
    ${job.eta_s !== null && html`<span>${F.eta} <${Countdown} seconds=${job.eta_s} since=${at} /></span>`}
    ${job.finished_at && html`<span class="muted"><${Age} at=${job.finished_at} /></span>`}
  </div>
  ${job.waiting_for && html`<p class="note" role="status">${T.waitingFor[job.waiting_for.reason] ?? job.waiting_for.reason}
    ${job.waiting_for.retry_at && html` ${T.tried} <${Age} at=${job.waiting_for.retry_at} />.`}</p>`}`;
}

function Countdown({seconds, since}) {
  const now = useNow();
  const left = seconds - Math.max(0, now - (since ?? now)) / 1000;
  return left > 0.5 ? durationText(left >= 10 ? Math.round(left) : left) : T.overdue;
}

/** Why it failed, and the way to jobs with the same failure. */
export function JobError({job}) {
  if (!job.error) return null;
  const {code, message} = job.error;
  const same = filterText({type: job.type, error: code});
  return html`<section class="problem" aria-label=${T.errorTitle}>
    <p><strong>${code}</strong> <a href=${href("jobs", {}, {q: same})}>${T.similar}</a></p>
    <p><${Text} value=${message} max=${600} pre /></p>
  </section>`;
}

/** The list of facts. `spec` and `files` are null until they are read. */
export function JobFacts({job, spec, files}) {
  const facts = [
    [F.type, html`<a href=${href("type", {name: job.type})}><${Text} value=${job.type} max=${100} /></a>
      <a class="muted" href=${href("jobs", {}, {q: filterText({type: job.type})})}>${T.sameType}</a>`],
    [F.queue, html`<a href=${href("queue", {name: job.queue})}><${Text} value=${job.queue} max=${100} /></a>`],
    job.group !== null && [F.group, html`<${Text} value=${job.group} max=${100} />
      <a class="muted" href=${href("jobs", {}, {q: filterText({group: job.group})})}>${T.sameGroup}</a>`],
    job.priority > 0 && [F.priority, job.priority],
    [F.attempt, `${job.attempt}/${job.attempts_max}`],
    [F.created, html`<${Instant} at=${job.created_at} /> <span class="muted"><${Age} at=${job.created_at} /></span>`],
    job.state === "delayed" && [F.run_at, html`<${Instant} at=${job.run_at} /> <span class="muted"><${Age} at=${job.run_at} /></span>`],
    job.started_at !== null && [F.started, html`<${Instant} at=${job.started_at} />`],
    job.finished_at !== null && [F.finished, html`<${Instant} at=${job.finished_at} />`],
    ...(spec ? specFacts(spec) : []),
    files?.length > 0 && [F.files, html`<${Files} files=${files} />`],
  ];
  return html`<dl class="job-facts card">
    ${facts.filter(Boolean).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
    ${spec?.lineage && html`<${LineageFacts} id=${job.id} lineage=${spec.lineage} />`}
  </dl>`;
}

function specFacts(spec) {
  return [
    spec.timeout_s !== null && [F.timeout, durationText(spec.timeout_s)],
    spec.start_by_at !== null && [F.start_by, html`<${Instant} at=${spec.start_by_at} /> <span class="muted"><${Age} at=${spec.start_by_at} /></span>`],
    spec.ttl_s !== null && [F.ttl, durationText(spec.ttl_s)],
    spec.worker
      ? [F.worker, `${T.runIn[spec.worker.kind]}, ${spec.worker.pid === null ? T.noPid : T.pid(spec.worker.pid)}`]
      : [F.run_in, T.runIn[spec.run_in]],
    [F.caller, spec.caller === null ? T.application : html`<${Text} value=${spec.caller} max=${100} />`],
    spec.unique !== null && [F.unique, html`<${Text} value=${spec.unique.value} max=${100} /> <span class="muted">(${spec.unique.mode})</span>`],
    spec.idempotency_key !== null && [F.key, html`<${Text} value=${spec.idempotency_key} max=${100} />`],
  ];
}

function Files({files}) {
  return html`<ul>${files.map(({part, filename, media_type: mediaType, size_bytes: bytes}, index) => html`<li key=${index}>
    <${Text} value=${part} max=${60} />: <${Text} value=${filename ?? ""} max=${100} />
    ${" "}<span class="muted"><${Text} value=${mediaType} max=${60} />, ${bytesText(bytes)}</span></li>`)}</ul>`;
}
