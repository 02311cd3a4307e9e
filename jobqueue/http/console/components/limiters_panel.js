/** The limiters: what jobs hold of each, and how many wait for it. */

import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {NextTrial} from "./next_trial.js";
import {countText} from "./number.js";
import {Table} from "./table.js";
import {Text} from "./text.js";

const S = STRINGS.queue;

const COLUMNS = [
  {key: "name", title: S.limiter, render: (each) => html`<${Name} of=${each} />`},
  {key: "held", title: S.held, align: "end", render: (each) => countText(each.held)},
  {key: "waiting", title: S.waiting, align: "end", render: (each) => countText(each.waiting)},
  {key: "permits", title: S.permits, align: "end", render: (each) => countText(each.permits)},
  {key: "rate", title: S.startRate, align: "end", blank: (each) => !each.rate, render: (each) => each.rate ?? "–"},
  {key: "until", title: S.quarantinedUntil, blank: (each) => !each.quarantined_until, render: (each) => html`<${Until} of=${each} />`},
];

function Name({of: {kind, name}}) {
  return html`<span><span class="muted">${S.kinds[kind] ?? kind}</span> <${Text} value=${name} max=${60} /></span>`;
}

function Until({of}) {
  return of.quarantined_until && html`<${NextTrial} at=${of.quarantined_until} />`;
}

/** @param {object} props `limiters`: of the document of all queues. */
export function LimitersPanel({limiters}) {
  const busiest = [...limiters].sort((one, other) => other.waiting - one.waiting || other.held - one.held);
  return html`
    <section class="card stack" id="limiters">
      <div class="spread"><h2>${S.limiters}</h2><span class="muted">${S.limitersHint}</span></div>
      ${limiters.length
        ? html`<${Table} label=${S.limiters} columns=${COLUMNS} rows=${busiest.slice(0, 50)} rowKey=${(each) => `${each.kind} ${each.name}`} />`
        : html`<p class="muted">${S.noLimiters}</p>`}
    </section>`;
}
