/** A queue in a strip: how full it is, by state, how long it drains, its oldest job, and what is unusual. */

import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Badge} from "./badge.js";
import {durationText} from "./duration.js";
import {countText, rateText, shareText} from "./number.js";
import {visibleText} from "./text.js";

const S = STRINGS.strip;
const FULL = 0.9;

/** The live states, in the order of a strip. */
export const LIVE_STATES = ["running", "queued", "delayed", "waiting"];

/** The number of live jobs of a queue. */
export const liveOf = (queue) => LIVE_STATES.reduce((sum, state) => sum + queue[state], 0);

/** @param {object} props `queue`: its document; `facts`: further ones, `[{title, text}]`; the children stand below. */
export function QueueStrip({queue, facts = [], children}) {
  const live = liveOf(queue);
  const share = queue.capacity ? live / queue.capacity : 1;
  const words = S.bar(...LIVE_STATES.map((state) => countText(queue[state])), countText(queue.capacity));
  return html`
    <article class="strip">
      <div class="strip-head">
        <a class="strip-name" href=${href("queue", {name: queue.name})}>${visibleText(queue.name, 80)}</a>
        <span class="row">
          ${queue.paused && html`<${Badge} kind="warn" title=${queue.pause?.reason}>❚❚ ${S.paused}<//>`}
          ${share >= 1 ? html`<${Badge} kind="bad">■ ${S.full}<//>` : share >= FULL && html`<${Badge} kind="warn">▲ ${S.nearlyFull}<//>`}
          ${queue.quarantined.length > 0 && html`<${Badge} kind="bad">⊘ ${S.quarantined(queue.quarantined.length)}<//>`}
        </span>
      </div>
      <div class="bar" role="img" aria-label=${words} title=${words}>
        ${LIVE_STATES.map((state) => html`<${Part} key=${state} kind=${state} count=${queue[state]} of=${queue.capacity} />`)}
      </div>
      <dl class="strip-facts">
        <div><dt>${S.taken}</dt><dd>${countText(live)} / ${countText(queue.capacity)} (${shareText(share)})</dd></div>
        <div><dt>${S.running}</dt><dd>${countText(queue.running)} / ${countText(queue.workers)}</dd></div>
        <div><dt>${S.rate}</dt><dd>${rateText(queue.drain_rate_per_s)}</dd></div>
        <div><dt>${S.drains}</dt><dd>${live === 0 ? S.isEmpty : queue.drain_s === null ? S.unknown : durationText(queue.drain_s)}</dd></div>
        <div><dt>${S.oldest}</dt><dd>${durationText(queue.oldest_queued_s)}</dd></div>
        ${facts.map(({title, text}) => html`<div key=${title}><dt>${title}</dt><dd>${text}</dd></div>`)}
      </dl>
      ${children}
    </article>`;
}

function Part({kind, count, of}) {
  return count > 0 && html`<span class="part ${kind}" style=${{width: `${Math.min(100, (100 * count) / Math.max(1, of))}%`}} />`;
}
