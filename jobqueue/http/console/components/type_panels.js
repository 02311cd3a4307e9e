/** The panels of a type: its arguments as a table, the options of its handler, its counts, its quarantine. */

import {failureShare} from "../data/failure_share.js";
import {membersOf, moreMembersOf, resolved, summaryOf} from "../data/json_schema.js";
import {argumentsSchema} from "../data/submission.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Badge} from "./badge.js";
import {durationText} from "./duration.js";
import {Age, Instant} from "./instant.js";
import {NextTrial} from "./next_trial.js";
import {countText, shareText} from "./number.js";
import {State} from "./state.js";
import {Table} from "./table.js";
import {Text} from "./text.js";

const S = STRINGS.type;
const DEFAULT_MAX = 60;
const SCHEMA_MAX = 4000;

/** The arguments: name, form, default and meaning of each. */
export function Signature({type}) {
  const schema = argumentsSchema(type);
  const members = membersOf(schema);
  const hidden = new Set(type.redact);
  const meant = {key: "meaning", render: (member) => html`<${Text} value=${meaning(member.schema, schema)} max=${200} />`};
  const columns = [
    {key: "name", title: S.argument, render: ({name}) => html`<${Argument} name=${name} isHidden=${hidden.has(name)} />`},
    {key: "form", title: S.form, render: (member) => html`<${Text} value=${summaryOf(member.schema, schema)} max=${140} />`},
    {key: "default", title: S.standard, render: (member) => html`<${Default} ...${member} root=${schema} />`},
    {...meant, title: S.meaning, blank: (member) => !meaning(member.schema, schema)},
  ];
  return html`
    <section class="card stack">
      <h2>${S.signature}</h2>
      ${members.length > 0 && html`<${Table} label=${S.signature} columns=${columns} rows=${members} rowKey=${({name}) => name} />`}
      ${moreMembersOf(schema) ? html`<p class="muted">${S.more}</p>` : !members.length && html`<p class="muted">${S.noArguments}</p>`}
      <details><summary>${S.schema}</summary><pre tabindex="0"><${Text} value=${JSON.stringify(type.arguments, null, 2)} max=${SCHEMA_MAX} pre /></pre></details>
    </section>`;
}

function Argument({name, isHidden}) {
  return html`<span><code><${Text} value=${name} max=${60} /></code>${isHidden && html` <${Badge} kind="later" title=${S.isRedacted}>•••<//>`}</span>`;
}

function Default({schema, required, root}) {
  return required ? html`<strong>${S.isRequired}</strong>` : html`<${Text} value=${defaultText(schema, root)} max=${DEFAULT_MAX} />`;
}

function defaultText(schema, root) {
  const own = resolved(schema, root);
  return Object.hasOwn(own, "default") ? JSON.stringify(own.default) : "–";
}

function meaning(schema, root) {
  const {description} = resolved(schema, root);
  return typeof description === "string" ? description : "";
}

/** The options of the handler. */
export function HandlerOptions({type}) {
  const facts = [
    [S.queue, html`<a href=${href("queue", {name: type.queue})}><${Text} value=${type.queue} max=${60} /></a>`],
    [S.runIn, S.places[type.run_in] ?? type.run_in],
    [S.timeout, type.timeout_s === null ? S.noLimit : durationText(type.timeout_s)],
    [S.attempts, countText(type.attempts_max)],
    ...(type.attempts_max > 1 ? [[S.backoff, S.backoffText(durationText(type.backoff.backoff_s_base), durationText(type.backoff.backoff_s_max))]] : []),
    [S.rate, type.rate ?? S.noLimit],
    [S.concurrency, type.concurrency === null ? S.noLimit : countText(type.concurrency)],
    ...(type.group_rate === null ? [] : [[S.groupRate, type.group_rate]]),
    ...(type.group_concurrency === null ? [] : [[S.groupConcurrency, countText(type.group_concurrency)]]),
  ];
  return html`<section class="card stack"><h2>${S.options}</h2><${Facts} facts=${facts} /></section>`;
}

/** What has happened to its jobs since the start. */
export function TypeCounts({type}) {
  if (type.submitted_total === undefined) return html`<section class="card stack"><h2>${S.counts}</h2><p class="muted">${S.hiddenCounts}</p></section>`;
  const share = failureShare(type);
  const ends = ["succeeded", "failed", "cancelled", "expired"].map((state) => [html`<${State} state=${state} />`, countText(type[`${state}_total`])]);
  const facts = [
    [S.queued, countText(type.queued)],
    [S.running, countText(type.running)],
    [S.submitted, countText(type.submitted_total)],
    [S.started, countText(type.started_total)],
    ...ends,
    [S.ratio, share === null ? "–" : shareText(share)],
    [S.run, `${durationText(type.run_s.p50)} / ${durationText(type.run_s.p95)}`],
    [S.wait, `${durationText(type.wait_s.p50)} / ${durationText(type.wait_s.p95)}`],
  ];
  return html`<section class="card stack"><h2>${S.counts}</h2><${Facts} facts=${facts} /></section>`;
}

/** Its quarantine, with the action that ends it. */
export function Quarantine({type, children}) {
  const {since, until, reason} = type.quarantined;
  const facts = [
    [S.since, html`<${Instant} at=${since} /> (<${Age} at=${since} />)`],
    [S.next, html`<${NextTrial} at=${until} />`],
    [S.reason, html`<${Text} value=${reason} max=${300} />`],
  ];
  return html`
    <section class="banner bad quarantine">
      <div class="stack"><strong>⊘ ${S.quarantine}</strong><${Facts} facts=${facts} /></div>
      ${children}
    </section>`;
}

function Facts({facts}) {
  return html`<dl class="facts compact">${facts.map(([title, value], n) => html`<dt key=${`t${n}`}>${title}</dt><dd key=${`d${n}`}>${value}</dd>`)}</dl>`;
}
