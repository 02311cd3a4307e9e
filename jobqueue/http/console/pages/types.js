/** The page Types: what may be submitted, how its jobs end, and what is in quarantine. */

import {Awaited} from "../components/awaited.js";
import {Badge} from "../components/badge.js";
import {durationText} from "../components/duration.js";
import {countText, shareText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {Table} from "../components/table.js";
import {Text} from "../components/text.js";
import {failureShare} from "../data/failure_share.js";
import {usePolled} from "../data/polling.js";
import {go, href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

export const title = STRINGS.pages.types;

const S = STRINGS.types;
/** The document has the schema of each type: it may be long, and changes little. */
const EVERY_MS = 3000;

export default function Page({query}) {
  const {document, problem} = usePolled("v1/types", {everyMs: EVERY_MS});
  const [sort, setSort] = useState({key: "type", descending: false});
  const all = document?.types ?? [];
  const sought = (query.q ?? "").toLowerCase();
  const found = sorted(all.filter(({type}) => type.toLowerCase().includes(sought)), sort);
  const counted = all.some((type) => type.submitted_total !== undefined);
  return html`
    <${PageHead} title=${title}>${document && html`<span class="muted" aria-live="polite">${S.count(found.length, all.length)}</span>`}<//>
    <${Awaited} document=${document} problem=${problem} />
    <div class="field find">
      <label for="find-type" class="visually-hidden">${S.find}</label>
      <input id="find-type" data-search type="search" placeholder=${S.find} value=${query.q ?? ""} autocomplete="off" spellcheck=${false}
        onInput=${(event) => go("types", {}, {q: event.target.value}, {replace: true})} />
    </div>
    ${document && !counted && all.length > 0 && html`<p class="muted">${S.hidden}</p>`}
    ${document && html`
      <${Table} label=${S.label} columns=${counted ? [...COLUMNS, ...COUNTS] : COLUMNS} rows=${found} rowKey=${({type}) => type} sort=${sort} onSort=${setSort}
        onOpen=${({type}) => go("type", {name: type})} empty=${all.length ? S.noMatch : S.none} />`}`;
}

const COLUMNS = [
  {key: "type", title: S.type, sortable: true, render: (type) => html`<${TypeName} type=${type} />`},
  {key: "state", title: S.state, sortable: true, render: (type) => html`<span><${TypeState} type=${type} /></span>`},
  {key: "queue", title: S.queue, sortable: true, render: (type) => html`<${QueueName} name=${type.queue} />`},
];

const COUNTS = [
  {key: "queued", title: S.queued, sortable: true, align: "end", render: (type) => countText(type.queued)},
  {key: "running", title: S.running, sortable: true, align: "end", render: (type) => countText(type.running)},
  {key: "failures", title: S.failures, sortable: true, align: "end", render: (type) => html`<${Failures} type=${type} />`},
  {key: "p50", title: S.runP50, sortable: true, align: "end", render: (type) => durationText(type.run_s?.p50)},
  {key: "p95", title: S.runP95, sortable: true, align: "end", render: (type) => durationText(type.run_s?.p95)},
];

const VALUES = {
  type: (type) => type.type,
  state: (type) => (type.quarantined ? 2 : type.running ? 1 : 0),
  queue: (type) => type.queue,
  queued: (type) => type.queued,
  running: (type) => type.running,
  failures: (type) => failureShare(type),
  p50: (type) => type.run_s?.p50,
  p95: (type) => type.run_s?.p95,
};

function sorted(types, {key, descending}) {
  const value = VALUES[key];
  const compare = (one, other) => {
    const [a, b] = [value(one) ?? -1, value(other) ?? -1];
    return typeof a === "string" && typeof b === "string" ? a.localeCompare(b) : a - b;
  };
  const rows = [...types].sort(compare);
  return descending ? rows.reverse() : rows;
}

function TypeState({type}) {
  if (type.quarantined) return html`<${Badge} kind="bad">⊘ ${S.quarantined}<//>`;
  if (type.running === undefined) return "–";
  return type.running > 0 ? html`<${Badge} kind="accent">▶ ${S.works}<//>` : html`<${Badge}>○ ${S.idle}<//>`;
}

function TypeName({type: {type, doc}}) {
  return html`
    <div>
      <a href=${href("type", {name: type})}><${Text} value=${type} max=${60} /></a>
      ${doc && html`<br /><span class="muted"><${Text} value=${doc} max=${90} /></span>`}
    </div>`;
}

function QueueName({name}) {
  return html`<a href=${href("queue", {name})}><${Text} value=${name} max=${40} /></a>`;
}

function Failures({type}) {
  const share = failureShare(type);
  if (share === null) return "–";
  const text = `${countText(type.failed_total)} (${shareText(share)})`;
  return share >= 0.1 ? html`<span class="bad-text">▲ ${text}</span>` : text;
}
