/** The estimated effect of a change of a queue: how it is drained now and then, and what the figures assume. */

import {estimate, measured} from "../data/drain_estimate.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {durationText} from "./duration.js";
import {countText, rateText, shareText} from "./number.js";

const S = STRINGS.queue;

/** @param {object} props `queue`: its document; `stats`: of this queue, as `usePolled` returned them; `change`. */
export function QueueEstimate({queue, stats, change}) {
  const history = stats.document ? measured(stats.document, queue.name) : null;
  const told = estimate(queue, history, change);
  if (!told) return html`<p class="muted">${stats.problem?.status === 403 ? S.hiddenEstimate : S.noEstimate}</p>`;
  const {now, then, heldBack} = told;
  const run = durationText(history.runS);
  const rows = [
    [S.drainTime, (each) => (each.drainS === null ? S.never : durationText(each.drainS))],
    [S.drainAlone, (each) => durationText(each.drainWithoutArrivalsS)],
    [S.rate, (each) => rateText(each.ratePerS)],
    [S.load, (each) => (each.utilisation === null ? "–" : shareText(each.utilisation))],
    [S.fullIn, (each) => (each.fullInS === null ? S.notFull : each.fullInS === 0 ? S.fullNow : durationText(each.fullInS))],
    [S.waitWhenFull, (each) => durationText(each.waitWhenFullS)],
  ];
  return html`
    <div class="stack estimate">
      <h3>${S.effect}</h3>
      <dl class="effects">
        ${rows.map(([title, text]) => html`<div key=${title}><dt>${title}</dt><dd><${Effect} before=${text(now)} after=${text(then)} /></dd></div>`)}
      </dl>
      ${then.over > 0 && html`<p class="note">${S.over(countText(then.over))}</p>`}
      ${heldBack && html`<p class="note">${S.heldBack(countText(queue.running), countText(queue.workers), countText(queue.queued))}</p>`}
      <details>
        <summary>${S.assumes}</summary>
        <p>${S.assumption(history.isAtMost ? S.atMost(run) : run, countText(history.runs), durationText(history.overS), rateText(history.arrivalsPerS))}</p>
      </details>
    </div>`;
}

function Effect({before, after}) {
  if (before === after) return before;
  return html`<span class="muted">${before}</span> → <strong>${after}</strong>`;
}
