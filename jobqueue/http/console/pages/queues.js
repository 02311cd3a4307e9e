/** The page Queues: a strip for each queue, and the types in quarantine. */

import {Awaited} from "../components/awaited.js";
import {useGrowth} from "../components/growth.js";
import {Empty} from "../components/empty.js";
import {Age} from "../components/instant.js";
import {NextTrial} from "../components/next_trial.js";
import {countText, rateText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {PauseNote} from "../components/pause_note.js";
import {QueueStrip, liveOf} from "../components/queue_strip.js";
import {Text} from "../components/text.js";
import {usePolled} from "../data/polling.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";

export const title = STRINGS.pages.queues;

const S = STRINGS.queues;

export default function Page() {
  const {document: queues, problem, at} = usePolled("v1/queues");
  const all = queues?.queues ?? [];
  const growth = useGrowth(at, all);
  const live = all.reduce((total, queue) => total + liveOf(queue), 0);
  return html`
    <${PageHead} title=${title}>${queues && html`<span class="muted">${S.total(all.length, countText(live))}</span>`}<//>
    <${Awaited} document=${queues} problem=${problem} />
    ${queues && !all.length && html`<${Empty}>${S.none}<//>`}
    <ul class="strips">
      ${all.map((queue) => html`
        <li key=${queue.name}><${QueueStrip} queue=${queue} facts=${factsOf(queue, growth)}><${PauseNote} queue=${queue} /><//></li>`)}
    </ul>
    <${Quarantined} types=${all[0]?.quarantined ?? []} />`;
}

/** Facts beside those of every strip: what comes, what goes, what is turned away. */
function factsOf(queue, growth) {
  return [
    {title: S.queued, text: countText(queue.queued)},
    {title: S.delayed, text: countText(queue.delayed)},
    queue.waiting > 0 && {title: S.waiting, text: countText(queue.waiting)},
    {title: S.arriving, text: rateText(growth.perS(queue.name, "in"))},
    {title: S.rejected, text: rateText(growth.perS(queue.name, "rejected"))},
  ].filter(Boolean);
}

/** The types in quarantine: the server tells of them with each queue, and they are of all queues. */
function Quarantined({types}) {
  if (!types.length) return null;
  return html`
    <section class="card stack">
      <h2>${S.quarantined}</h2>
      <ul class="plain-list">
        ${types.map((each) => html`
          <li key=${each.type}>
            <a href=${href("type", {name: each.type})}><${Text} value=${each.type} max=${80} /></a>
            <span class="muted"> ${STRINGS.type.since} <${Age} at=${each.since} />, ${STRINGS.type.next} <${NextTrial} at=${each.until} />: </span>
            <${Text} value=${each.reason} max=${160} />
          </li>`)}
      </ul>
    </section>`;
}
