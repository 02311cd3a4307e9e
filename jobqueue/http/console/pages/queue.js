/** The page Queue: how one queue is, why, and what may be changed about it. */

import {ActionDialog, ConfirmDialog} from "../components/action_dialog.js";
import {Awaited} from "../components/awaited.js";
import {Badge} from "../components/badge.js";
import {DurationsPanel} from "../components/durations_panel.js";
import {useGrowth} from "../components/growth.js";
import {LimitersPanel} from "../components/limiters_panel.js";
import {countText, rateText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {PauseDialog} from "../components/pause_dialog.js";
import {PauseNote} from "../components/pause_note.js";
import {Problem} from "../components/problem.js";
import {QueueChange} from "../components/queue_change.js";
import {QueueSettings} from "../components/queue_settings.js";
import {QueueStrip} from "../components/queue_strip.js";
import {visibleText} from "../components/text.js";
import {WaitingPanel} from "../components/waiting_panel.js";
import {usePolled} from "../data/polling.js";
import {useKeys} from "../shell/keys.js";
import {href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

export const title = STRINGS.pages.queue;

const S = STRINGS.queue;
const HISTORY_MS = 5000;

export default function Page({params: {name}}) {
  const {document, problem, at} = usePolled("v1/queues");
  const stats = usePolled("v1/stats", {query: {by: "queue", name}, everyMs: HISTORY_MS});
  const all = document?.queues ?? [];
  const queue = all.find((each) => each.name === name);
  const growth = useGrowth(at, all);
  if (!queue) {
    const told = document ? {title: S.missing, detail: all.map((each) => each.name).join(", ")} : problem;
    return html`<${PageHead} title=${visibleText(name, 80)} /><${Awaited} problem=${told} />`;
  }
  const facts = [
    {title: STRINGS.queues.queued, text: countText(queue.queued)},
    {title: STRINGS.queues.delayed, text: countText(queue.delayed)},
    queue.waiting > 0 && {title: STRINGS.queues.waiting, text: countText(queue.waiting)},
    {title: S.arriving, text: rateText(growth.perS(name, "in"))},
    {title: S.totals, text: S.totalsText(...["submitted", "refused", "succeeded", "failed"].map((each) => countText(queue[`${each}_total`])))},
  ].filter(Boolean);
  return html`
    <${PageHead} title=${visibleText(name, 80)}><${Actions} queue=${queue} /><//>
    <${Problem} of=${problem} />
    ${queue.paused && html`<div class="banner warn" role="status"><${Badge} kind="warn">❚❚ ${STRINGS.strip.paused}<//> ${S.paused} <${PauseNote} queue=${queue} /></div>`}
    <${QueueStrip} queue=${queue} facts=${facts} />
    <${QueueChange} queue=${queue} queues=${all} stats=${stats} />
    <${WaitingPanel} queue=${queue} />
    <${DurationsPanel} stats=${stats} name=${name} waits />
    <${LimitersPanel} limiters=${document.limiters} />
    <${QueueSettings} queue=${queue} />`;
}

function Actions({queue}) {
  const [asked, ask] = useState(null);
  const {mayChange} = useSession();
  const allowed = mayChange("operate");
  const close = () => ask(null);
  const toggle = () => ask(queue.paused ? "resume" : "pause");
  useKeys(allowed ? {p: toggle} : {}, {label: queue.paused ? S.resume : S.pause});
  return html`
    <a class="button" href=${href("jobs", {}, {q: `queue:${queue.name}`})}>${S.jobs}</a>
    <a class="button" href=${href("what_if", {queue: queue.name})}>${S.whatIf}</a>
    ${allowed && html`
      <button type="button" class="button" onClick=${toggle}>${queue.paused ? S.resume : S.pause}</button>
      <button type="button" class="button danger" disabled=${!queue.queued} onClick=${() => ask("purge")}>${S.purge}</button>
      <button type="button" class="button danger" disabled=${!queue.delayed} onClick=${() => ask("purgeDelayed")}>${S.purgeDelayed}</button>`}
    ${asked === "pause" && html`<${PauseDialog} queue=${queue} onClose=${close} />`}
    ${asked === "resume" && html`<${ConfirmDialog} ...${resuming(queue)} onDone=${close} onClose=${close} />`}
    ${asked === "purge" && html`<${ActionDialog} action="cancel" filter=${{queue: queue.name, state: "queued"}} onDone=${close} onClose=${close} />`}
    ${asked === "purgeDelayed" && html`<${ActionDialog} action="cancel" filter=${{queue: queue.name, state: "delayed"}} onDone=${close} onClose=${close} />`}`;
}

function resuming(queue) {
  return {
    title: S.resumeTitle(queue.name),
    sentence: S.resumeMeaning(countText(queue.queued)),
    verb: S.resumeVerb,
    request: ["POST", `v1/queues/${encodeURIComponent(queue.name)}:resume`],
    doneSentence: () => S.resumeDone(queue.name),
  };
}
