/** The receivers of webhooks: what each gets, whether it takes it, its latest attempt, and what failed. */

import {usePolled} from "../data/polling.js";
import {filterText} from "../data/filter.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Badge} from "./badge.js";
import {Age} from "./instant.js";
import {countText} from "./number.js";
import {Problem} from "./problem.js";
import {Table} from "./table.js";
import {Text} from "./text.js";

const S = STRINGS.webhooks;
const EVERY_MS = 3000;
const TYPE = "webhook";

const COLUMNS = [
  {key: "name", title: S.name, render: ({name, host}) => html`<span class="lines"><strong><${Text} value=${name} max=${60} /></strong><span class="muted"><${Text} value=${host} max=${100} /></span></span>`},
  {key: "events", title: S.gets, render: (webhook) => html`<${Gets} webhook=${webhook} />`},
  {key: "state", title: S.state, render: (webhook) => html`<${Condition} webhook=${webhook} />`},
  {key: "last_attempt", title: S.last, blank: ({last_attempt: last}) => !last, render: ({last_attempt: last}) => html`<${LastAttempt} last=${last} />`},
  ...["pending", "delivered", "failed", "attempts_failed", "dropped"].map((each) => {
    const member = each === "pending" ? each : `${each}_total`;
    return {key: each, title: S[each], align: "end", render: (row) => html`<span class=${BAD.includes(each) && row[member] > 0 ? "bad-text" : ""}>${countText(row[member])}</span>`};
  }),
];

const BAD = ["failed", "dropped"];

export function WebhooksPanel() {
  const {document, problem} = usePolled("v1/webhooks", {everyMs: EVERY_MS});
  return html`
    <div class="stack">
      <${Problem} of=${problem} />
      ${document && html`<${Table} label=${S.title} columns=${COLUMNS} rows=${document.webhooks} rowKey=${({name}) => name} empty=${html`<${None} />`} />`}
      ${document?.webhooks.length > 0 && html`
        <p class="row"><a href=${href("jobs", {}, {q: filterText({type: TYPE})})}>${S.deliveries}</a> <a href=${href("failures", {}, {type: TYPE})}>${S.failures}</a></p>`}
    </div>`;
}

function Gets({webhook: {events, topics}}) {
  if (!events.length && !topics.length) return html`<span class="muted">${S.callbacks}</span>`;
  return html`
    <span class="lines">
      ${events.length > 0 && html`<span>${events.join(", ")}</span>`}
      ${topics.length > 0 && html`<span>${topics.map((each) => html`<code key=${each}>${each}</code> `)}</span>`}
    </span>`;
}

function Condition({webhook: {state, disabled_reason: reason}}) {
  if (state === "enabled") return html`<span><${Badge} kind="good">▶ ${S.enabled}<//></span>`;
  return html`<span class="lines"><span><${Badge} kind="bad">⊘ ${S.disabled}<//></span><${Text} value=${reason ?? ""} max=${120} /></span>`;
}

function LastAttempt({last}) {
  if (last === undefined) return "–";
  if (last === null) return html`<span class="muted">${S.noneYet}</span>`;
  return html`
    <span class="lines">
      <span><a href=${href("job", {id: last.job_id})}><${Age} at=${last.at} /></a></span>
      ${last.error === null ? html`<span class="muted">✓ ${S.succeeded}</span>` : html`<span class="bad-text">▲ <${Text} value=${last.error} max=${120} /></span>`}
    </span>`;
}

function None() {
  return html`<p>${S.none}</p><pre class="example">${S.noneExample}</pre>`;
}
