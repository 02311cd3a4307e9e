/** How a job depends on others, as rows of its facts: its flow, the jobs that it comes after, those that come after it. */

import {usePolled} from "../data/polling.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {memberName} from "./flow_graph.js";
import {State} from "./state.js";
import {Text} from "./text.js";

const F = STRINGS.job.fields;
const EVERY_MS = 3000;
const SHOWN_MAX = 8;
const ID_SHOWN = 10;

/** @param {object} props `id`: of the job; `lineage`: as `?include=spec` has it. */
export function LineageFacts({id, lineage}) {
  const {document: flow} = usePolled(lineage.flow === null ? null : `v1/flows/${encodeURIComponent(lineage.flow)}`, {everyMs: EVERY_MS});
  const jobs = new Map((flow?.jobs ?? []).map((job) => [job.id, job]));
  const children = (flow?.jobs ?? []).filter(({after}) => after.includes(id)).map((job) => job.id);
  const facts = [
    lineage.flow !== null && [F.flow, html`<a href=${href("flow", {id: lineage.flow})}><code>…${lineage.flow.slice(-ID_SHOWN)}</code></a>
      ${lineage.name !== null && html`<span class="muted">${F.asName} <${Text} value=${lineage.name} max=${60} /></span>`}`],
    lineage.after.length > 0 && [F.parents, html`<${Relatives} ids=${lineage.after} count=${lineage.after_count} jobs=${jobs} />`],
    lineage.after.length > 0 && [STRINGS.flow.onFailure, STRINGS.flow.onFailures[lineage.on_failure]],
    children.length > 0 && [F.children, html`<${Relatives} ids=${children} count=${children.length} jobs=${jobs} />`],
  ];
  return facts.filter(Boolean).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`);
}

function Relatives({ids, count, jobs}) {
  return html`<ul class="plain-list">
    ${ids.slice(0, SHOWN_MAX).map((id) => html`
      <li key=${id}><a href=${href("job", {id})}>${jobs.has(id) ? html`<${Text} value=${memberName(jobs.get(id))} max=${60} />` : html`<code>…${id.slice(-ID_SHOWN)}</code>`}</a>
        ${" "}${jobs.has(id) && html`<${State} state=${jobs.get(id).state} />`}</li>`)}
    ${count > SHOWN_MAX && html`<li class="muted">${STRINGS.actions.more(count - SHOWN_MAX)}</li>`}
  </ul>`;
}
