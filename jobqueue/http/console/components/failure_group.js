/** One group of failures: what its jobs have in common, a sample of them, and actions on all of them. */

import {ActionDialog} from "./action_dialog.js";
import {Awaited} from "./awaited.js";
import {Badge} from "./badge.js";
import {CopyButton} from "./copy_button.js";
import {durationText} from "./duration.js";
import {Empty} from "./empty.js";
import {Age, Instant} from "./instant.js";
import {countText} from "./number.js";
import {PageHead} from "./page_head.js";
import {Problem} from "./problem.js";
import {Sparkline} from "./sparkline.js";
import {Text, visibleText} from "./text.js";
import {toast} from "./toast.js";
import {exportJobs} from "../data/job_export.js";
import {muted} from "../data/muted.js";
import {usePolled} from "../data/polling.js";
import {useStore} from "../data/store.js";
import {useKeys} from "../shell/keys.js";
import {href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

const S = STRINGS.failures;
const EVERY_MS = 5000;
const EXPORTED_MAX = 10_000;

export function FailureGroup({id}) {
  const {document: group, problem} = usePolled(`v1/failures/${encodeURIComponent(id)}`, {everyMs: EVERY_MS});
  const isGone = problem?.status === 404;
  const back = html`<p><a href=${href("failures")}>${S.back}</a></p>`;
  if (isGone) return html`<${PageHead} title=${S.group} />${back}<${Empty}>${S.gone}<//>`;
  if (!group) return html`<${PageHead} title=${S.group} />${back}<${Awaited} problem=${problem} />`;
  return html`
    <${Head} id=${id} group=${group} />
    ${back}
    <${Problem} of=${problem} />
    <section class="card stack"><p class="failure-message"><code class="failed">${group.code}</code> <${Text} value=${group.message || S.noMessage} max=${300} /></p>
      <${Facts} group=${group} />
    </section>
    <section class="card stack" aria-labelledby="common-args"><h2 id="common-args">${S.common}</h2><${Common} group=${group} /></section>
    <section class="card stack" aria-labelledby="failure-sample"><h2 id="failure-sample">${S.sample}</h2>
      <ul class="plain">${group.sample.map((job) => html`<li key=${job}><a href=${href("job", {id: job})}><code>${job}</code></a></li>`)}</ul>
      <p><a href=${href("jobs", {}, {q: `failure:${id}`})}>${S.allJobs(countText(group.count))}</a></p>
    </section>`;
}

function Head({id, group}) {
  const {may} = useSession();
  const [action, setAction] = useState(null);
  const isMuted = useStore(muted.store).includes(id);
  const mute = () => muted.toggle(id);
  const save = () => exportGroup(id);
  const changes = may("operate") ? {r: {label: S.retry, run: () => setAction("retry")}, Delete: {label: S.delete, run: () => setAction("delete")}} : {};
  useKeys({...changes, m: {label: S.mute, run: mute}, e: {label: S.export, run: save}}, {label: S.group});
  const close = () => setAction(null);
  return html`
    <${PageHead} title=${visibleText(S.titleOf(group.type), 80)}>
      ${isMuted && html`<${Badge} kind="later">${S.mutedBadge}<//>`}
      ${may("operate") && html`
        <button class="button primary" onClick=${() => setAction("retry")}>${S.retry}</button>
        <button class="button danger" onClick=${() => setAction("delete")}>${S.delete}</button>`}
      <button class="button" aria-pressed=${isMuted} onClick=${mute}>${isMuted ? S.unmute : S.mute}</button>
      <button class="button" onClick=${save}>${S.export}</button>
    <//>
    ${action && html`<${ActionDialog} action=${action} filter=${{failure: id}} onDone=${close} onClose=${close} />`}`;
}

function Facts({group}) {
  return html`
    <dl class="facts">
      <dt>${S.count}</dt><dd>${countText(group.count)}${!group.complete && html` <span class="muted">${S.atLeast}</span>`}</dd>
      <dt>${S.first}</dt><dd><${Instant} at=${group.first_at} /> <span class="muted">(<${Age} at=${group.first_at} />)</span></dd>
      <dt>${S.last}</dt><dd><${Instant} at=${group.last_at} /> <span class="muted">(<${Age} at=${group.last_at} />)</span></dd>
      <dt>${S.course}</dt><dd><span class="failure-course wide"><${Sparkline} values=${group.counts} label=${S.courseOf(group.step_s)} kind="failed" /></span>
        <span class="muted">${S.buckets(group.counts.length, durationText(group.step_s))}</span></dd>
      <dt>${S.id}</dt><dd><code>${group.id}</code> <${CopyButton} text=${group.id} label=${S.copyId} /></dd>
    </dl>`;
}

function Common({group}) {
  const members = Object.entries(group.common_args);
  if (!group.sampled) return html`<p class="muted">${S.noArgs}</p>`;
  return html`
    <p class="muted">${S.compared(group.sampled)}</p>
    ${members.length
      ? html`<dl class="facts">${members.map(([name, value]) => html`<dt key=${name}><code>${visibleText(name, 60)}</code></dt><dd><code><${Text} value=${JSON.stringify(value)} max=${200} /></code></dd>`)}</dl>`
      : html`<p>${S.nothingCommon}</p>`}`;
}

async function exportGroup(id) {
  try {
    const {count, complete} = await exportJobs({failure: id}, `failure-${id}`, EXPORTED_MAX);
    toast({sentence: complete ? S.exported(countText(count)) : S.exportedPart(countText(count))});
  } catch (problem) {
    toast({sentence: `${problem.title ?? S.export}: ${problem.detail ?? ""}`, kind: "bad"});
  }
}
