/** The jobs of a flow in a table, all or those in one state, a page at a time. */

import {layersOf} from "../data/flow_layout.js";
import {STATES} from "../data/states.js";
import {go, href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useMemo, useState} from "../ui.js";
import {memberName} from "./flow_graph.js";
import {countText} from "./number.js";
import {PageSteps} from "./page_steps.js";
import {State, StateShape} from "./state.js";
import {Table} from "./table.js";
import {Text} from "./text.js";

const S = STRINGS.flow;
const PAGE_MAX = 100;
const PARENTS_SHOWN = 5;

/** @param {object} props `flow`: its document; `state`: that of the jobs that are shown, or null; `onState(state)`. */
export function FlowJobs({flow, state, onState}) {
  const [page, setPage] = useState(0);
  useEffect(() => setPage(0), [state]);
  const layers = useMemo(() => layersOf(flow.jobs), [flow.jobs]);
  const byId = useMemo(() => new Map(flow.jobs.map((job) => [job.id, job])), [flow.jobs]);
  const rows = flow.jobs.filter((job) => state === null || job.state === state);
  const from = Math.min(page, Math.floor(Math.max(0, rows.length - 1) / PAGE_MAX)) * PAGE_MAX;
  const columns = [
    {key: "name", title: S.name, align: "whole", render: (job) => html`<a href=${href("job", {id: job.id})}><${Text} value=${memberName(job)} max=${40} /></a>`},
    {key: "type", title: S.type, render: ({type}) => html`<a href=${href("type", {name: type})}><${Text} value=${type} max=${40} /></a>`},
    {key: "state", title: S.state, align: "whole", render: (job) => html`<span><${State} state=${job.state} /></span>`},
    {key: "layer", title: S.layerTitle, align: "end", render: ({id}) => layers.get(id) + 1},
    {key: "after", title: S.after, blank: ({after}) => !after.length, render: ({after}) => html`<${Parents} ids=${after} byId=${byId} />`},
    {key: "on_failure", title: S.onFailure, blank: ({after}) => !after.length, render: (job) => job.after.length > 0 && S.onFailures[job.on_failure]},
  ];
  return html`
    <${StateFilter} counts=${flow.counts} state=${state} onState=${onState} />
    <${Table} label=${S.jobs} columns=${columns} rows=${rows.slice(from, from + PAGE_MAX)} rowKey=${({id}) => id} onOpen=${({id}) => go("job", {id})} empty=${S.noJobs} />
    <${PageSteps} number=${from / PAGE_MAX + 1} next=${from + PAGE_MAX < rows.length ? "next" : null} onNext=${() => setPage(from / PAGE_MAX + 1)}
      onPrevious=${() => setPage(from / PAGE_MAX - 1)} onFirst=${() => setPage(0)} />`;
}

function StateFilter({counts, state, onState}) {
  const shown = STATES.filter((each) => counts[each] > 0 || each === state);
  return html`<div class="row states" role="group" aria-label=${STRINGS.jobs.states}>
    ${shown.map((each) => html`
      <button key=${each} type="button" class="button small" aria-pressed=${each === state} onClick=${() => onState(each === state ? null : each)}>
        <span class=${`shape ${each}`}><${StateShape} state=${each} /></span>${countText(counts[each] ?? 0)} ${STRINGS.states[each]}</button>`)}
  </div>`;
}

function Parents({ids, byId}) {
  return html`<span class="row">
    ${ids.slice(0, PARENTS_SHOWN).map((id) => html`<a key=${id} href=${href("job", {id})}><${Text} value=${byId.has(id) ? memberName(byId.get(id)) : `…${id.slice(-10)}`} max=${30} /></a>`)}
    ${ids.length > PARENTS_SHOWN && html`<span class="muted">${STRINGS.actions.more(ids.length - PARENTS_SHOWN)}</span>`}
  </span>`;
}
