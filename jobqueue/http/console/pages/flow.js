/** The page Flow: the graph of its jobs, how far it is, and what can be done with the whole of it. */

import {ConfirmDialog} from "../components/action_dialog.js";
import {Awaited} from "../components/awaited.js";
import {CopyButton} from "../components/copy_button.js";
import {durationText} from "../components/duration.js";
import {FlowGraph} from "../components/flow_graph.js";
import {FlowJobs} from "../components/flow_jobs.js";
import {FlowLayers} from "../components/flow_layers.js";
import {Age, Instant, msOf} from "../components/instant.js";
import {countText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {Problem} from "../components/problem.js";
import {State} from "../components/state.js";
import {Text} from "../components/text.js";
import {useNow} from "../data/clock.js";
import {edgeCount} from "../data/flow_layout.js";
import {usePolled} from "../data/polling.js";
import {useKeys} from "../shell/keys.js";
import {go, href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

const S = STRINGS.flow;
const LIVE_MS = 1000;
const ENDED_MS = 5000;
const GRAPH_JOBS_MAX = 100;
const GRAPH_EDGES_MAX = 400;

export const title = STRINGS.pages.flow;

export default function Page({params: {id}, query}) {
  const path = `v1/flows/${encodeURIComponent(id)}`;
  const [everyMs, setEveryMs] = useState(LIVE_MS);
  const {document: flow, problem} = usePolled(path, {everyMs});
  const gone = problem?.status === 404 || problem?.status === 410;
  const pace = gone ? Infinity : flow?.finished_at ? ENDED_MS : LIVE_MS;
  if (pace !== everyMs) setEveryMs(pace);
  if (!flow || gone) {
    return html`<${PageHead} title=${title} /><p><code><${Text} value=${id} max=${60} /></code></p><${Awaited} problem=${problem} />${gone && html`<p>${S.gone}</p>`}`;
  }
  const hasGraph = flow.jobs.length <= GRAPH_JOBS_MAX && edgeCount(flow.jobs) <= GRAPH_EDGES_MAX;
  const choose = (state) => go("flow", {id}, {state}, {replace: true});
  return html`
    <${PageHead} title=${title}><${Actions} flow=${flow} path=${path} /><//>
    <p class="row"><code class="job-whole-id">${flow.id}</code> <${CopyButton} text=${flow.id} label=${S.copyId} /></p>
    <${Problem} of=${problem} />
    <${Progress} flow=${flow} />
    ${flow.jobs.length > 0 && html`
      <section class="card stack" aria-labelledby="flow-graph">
        <h2 id="flow-graph">${hasGraph ? S.graph : S.layers}</h2>
        ${hasGraph ? html`<${FlowGraph} jobs=${flow.jobs} />` : html`<${FlowLayers} jobs=${flow.jobs} />`}
      </section>`}
    <${FlowJobs} flow=${flow} state=${query.state || null} onState=${choose} />
    ${flow.evicted > 0 && html`<p class="muted">${S.evicted(flow.evicted)}</p>`}`;
}

function Progress({flow}) {
  const now = useNow();
  const all = Object.values(flow.counts).reduce((sum, count) => sum + count, 0);
  const live = ["waiting", "delayed", "queued", "running"].reduce((sum, state) => sum + (flow.counts[state] ?? 0), 0);
  const took = ((msOf(flow.finished_at) ?? now) - msOf(flow.created_at)) / 1000;
  return html`
    <div class="row job-status" role="status">
      <${State} state=${flow.state} />
      <span class="job-progress"><progress max=${Math.max(1, all)} value=${all - live} aria-label=${S.progress}></progress> ${S.ended(countText(all - live), countText(all))}</span>
      <span class="muted">${S.begun} <${Instant} at=${flow.created_at} /> (<${Age} at=${flow.created_at} />)</span>
      <span class="muted">${flow.finished_at ? S.took(durationText(took)) : S.runs(durationText(Math.max(0, took)))}</span>
    </div>`;
}

/** Return what can be done with a flow now: while it runs it can be cancelled, and with failed jobs retried. */
function actionsOf({state, counts}) {
  return [counts.failed > 0 && "retry", state === "running" && "cancel"].filter(Boolean);
}

function Actions({flow, path}) {
  const [asked, ask] = useState(null);
  const {mayChange} = useSession();
  const actions = mayChange("operate") ? actionsOf(flow) : [];
  useKeys(Object.fromEntries(actions.map((action) => [action[0], {label: S.actions[action].title, run: () => ask(action)}])), {label: title});
  return html`
    <a class="button" href=${href("flows")}>${S.allFlows}</a>
    ${actions.map((action) => html`<button key=${action} type="button" class=${`button ${action === "cancel" ? "danger" : ""}`} onClick=${() => ask(action)}>${S.actions[action].verb}</button>`)}
    ${asked && html`
      <${ConfirmDialog} title=${S.actions[asked].title} sentence=${S.actions[asked].meaning} verb=${S.actions[asked].verb} danger=${asked === "cancel"}
        request=${["POST", `${path}:${asked}`]} doneSentence=${S.actions[asked].done} onDone=${() => ask(null)} onClose=${() => ask(null)} />`}`;
}
