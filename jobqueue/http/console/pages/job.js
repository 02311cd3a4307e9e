/** Job: one job with its timeline, arguments, result, attempts and events, and what can be done with it. */

import {ActionDialog, actOnJob} from "../components/action_dialog.js";
import {Awaited} from "../components/awaited.js";
import {CopyButton} from "../components/copy_button.js";
import {JobAttempts} from "../components/job_attempts.js";
import {JobCopies} from "../components/job_copies.js";
import {JobEvents} from "../components/job_events.js";
import {JobError, JobFacts, JobStatus} from "../components/job_facts.js";
import {JobResult} from "../components/job_result.js";
import {JsonTree} from "../components/json_tree.js";
import {bytesText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {Problem} from "../components/problem.js";
import {Tabs} from "../components/tabs.js";
import {Text, visibleText} from "../components/text.js";
import {Timeline} from "../components/timeline.js";
import {ACTIONS} from "../data/bulk.js";
import {useNow} from "../data/clock.js";
import {DOCUMENT_BYTES_MAX, useIncluded} from "../data/job_text.js";
import {usePolled} from "../data/polling.js";
import {useKeys} from "../shell/keys.js";
import {go, href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

const T = STRINGS.job;
const LIVE_MS = 1000;
const TERMINAL_MS = 5000;
const DIRECT = ["retry", "run"];
const RAW_MAX = 200_000;

export const title = STRINGS.pages.job;

export default function Job({params, query}) {
  const path = `v1/jobs/${encodeURIComponent(params.id)}`;
  const [everyMs, setEveryMs] = useState(LIVE_MS);
  const {document: job, problem, at, reload} = usePolled(path, {everyMs});
  const included = useIncluded(path, job);
  const {document: type} = usePolled(job ? `v1/types/${encodeURIComponent(job.type)}` : null, {everyMs: Infinity});
  const gone = problem?.status === 404 || problem?.status === 410;
  const pace = gone ? Infinity : job?.finished_at ? TERMINAL_MS : LIVE_MS;
  if (pace !== everyMs) setEveryMs(pace);
  if (gone) return html`<${Gone} id=${params.id} problem=${problem} job=${job} />`;
  if (!job) return html`<${PageHead} title=${title} /><${Awaited} problem=${problem} />`;
  return html`
    <${PageHead} title=${T.of(visibleText(job.type, 60))}><${Actions} job=${job} type=${type} reload=${reload} /><//>
    <p class="row"><code class="job-whole-id">${job.id}</code> <${CopyButton} text=${job.id} label=${T.id} /></p>
    <${Problem} of=${problem} />
    <${JobStatus} job=${job} at=${at} />
    <${JobError} job=${job} />
    <div class="job-columns">
      <${LiveTimeline} job=${job} />
      <${JobFacts} job=${job} spec=${included.spec} files=${included.files} />
    </div>
    <${Parts} job=${job} type=${type} path=${path} included=${included} active=${query.tab} />`;
}

function LiveTimeline({job}) {
  const now = useNow();
  return html`<${Timeline} job=${job} now=${now} />`;
}

/** @param {object} props `type`: its document; null: it isn't known yet, or not any more. */
function Actions({job, type, reload}) {
  const {mayChange} = useSession();
  const [asked, ask] = useState(null);
  const may = (action) => mayChange(ACTIONS[action].scope) && ACTIONS[action].states.includes(job.state);
  const act = async (action) => {
    if (!may(action)) return;
    if (!DIRECT.includes(action)) ask(action);
    else if (await actOnJob(action, job.id)) reload();
  };
  const done = () => {
    ask(null);
    reload();
  };
  const keys = {r: "retry", c: "cancel", Delete: "delete"};
  useKeys(Object.fromEntries(Object.entries(keys).map(([key, action]) => [key, {label: T.actions[action], run: () => act(action)}])), {label: T.keys});
  const shown = Object.keys(T.actions).filter((action) => ACTIONS[action].states.includes(job.state));
  return html`
    ${shown.map((action) => html`<button key=${action} type="button" class=${`button ${ACTIONS[action].destroys ? "danger" : ""}`} disabled=${!may(action)}
      title=${may(action) ? null : STRINGS.jobs.noScope} onClick=${() => act(action)}>${T.actions[action]}</button>`)}
    ${mayChange("submit") && type && !type.built_in && html`<a class="button" href=${href("type", {name: job.type, tab: "try"}, {from: job.id})}>${T.again}</a>`}
    ${asked && html`<${ActionDialog} action=${asked} ids=${[job.id]} onDone=${done} onClose=${() => ask(null)} />`}`;
}

function Parts({job, type, path, included, active}) {
  const {keys} = useSession();
  const {args, spec, files, resultFile, known, problem} = included;
  const reading = problem ? html`<${Problem} of=${problem} />` : html`<p role="status">${T.reading}</p>`;
  const tooLong = included.raw && !included.raw.whole;
  const cut = html`<p class="note">${T.tooLong(bytesText(included.raw?.bytes ?? DOCUMENT_BYTES_MAX))}</p>`;
  const needed = (render) => () => (tooLong ? cut : known ? render() : reading);
  const tabs = [
    {key: "arguments", title: T.tabs.arguments, render: needed(() => html`<${Arguments} args=${args} />`)},
    {key: "result", title: T.tabs.result, render: () => html`<${JobResult} job=${job} path=${path} file=${resultFile} known=${known || tooLong} />`},
    {key: "attempts", title: `${T.tabs.attempts}${job.history ? ` (${job.history.length})` : ""}`, render: () => html`<${JobAttempts} job=${job} />`},
    {key: "events", title: T.tabs.events, render: () => html`<${JobEvents} key=${path} path=${path} />`},
    {key: "copies", title: T.tabs.copies, render: needed(() => html`<${JobCopies} job=${job} args=${args} spec=${spec} files=${files} withKey=${keys} />`)},
    {key: "raw", title: T.tabs.raw, render: () => (included.raw ? html`<${Raw} text=${included.raw} />` : reading)},
  ].filter(({key}) => key !== "copies" || !type?.built_in);  // which no submission may name
  const first = job.state === "succeeded" ? "result" : job.state === "failed" ? "attempts" : "arguments";
  const select = (tab) => go("job", {id: job.id}, {tab}, {replace: true});
  return html`<${Tabs} label=${T.tabs.label} tabs=${tabs} active=${tabs.some(({key}) => key === active) ? active : first} onSelect=${select} />`;
}

function Arguments({args}) {
  if (args === null) return html`<p class="muted">${T.noArguments}</p>`;
  if (!args.startsWith("{")) return html`<p class="muted">${T.argumentsHidden}</p>`;
  return html`${args.includes("•••") && html`<p class="note">${T.redactedNote}</p>`}<${JsonTree} text=${args} label=${T.tabs.arguments} />`;
}

function Raw({text}) {
  const shown = text.text.slice(0, RAW_MAX);
  return html`<div class="stack tight">
    <div class="json-tools"><${CopyButton} text=${text.text} /></div>
    <pre class="card snippet" role="region" tabindex="0" aria-label=${T.raw}><${Text} value=${shown} max=${8000} pre /></pre>
  </div>`;
}

/** A job without a record: what happened to it, and what to do. */
function Gone({id, problem, job}) {
  const kind = problem.status === 410 ? (problem.document?.reason ?? "evicted") : "job-not-found";
  const remedy = kind === "evicted" ? T.gone.remedy : kind === "earlier-run" ? T.gone.remedyLost : T.gone.remedyUnknown;
  return html`
    <${PageHead} title=${T.gone.title} />
    <p class="row"><code class="job-whole-id"><${Text} value=${id} max=${60} /></code></p>
    <section class="card stack tight" aria-label=${T.gone.title}>
      <p role="status">${T.gone[kind] ?? problem.detail}</p>
      <p>${remedy}</p>
      ${job && html`<${JobStatus} job=${job} at=${null} />`}
      <p class="row"><a class="button" href=${href("jobs")}>${T.gone.list}</a></p>
    </section>
    <${Problem} of=${problem} />`;
}
