/**
 * The page Failures: the failed jobs that are held, grouped by type, error and masked message; and the page of one group.
 *
 * Filters and order stand in the URL. Muted groups are hidden in this browser alone.
 */

import {Awaited} from "../components/awaited.js";
import {Badge} from "../components/badge.js";
import {FailureGroup} from "../components/failure_group.js";
import {Age} from "../components/instant.js";
import {countText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {Sparkline} from "../components/sparkline.js";
import {Table} from "../components/table.js";
import {Text, visibleText} from "../components/text.js";
import {muted} from "../data/muted.js";
import {usePolled} from "../data/polling.js";
import {useStore} from "../data/store.js";
import {go, href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useState} from "../ui.js";

const S = STRINGS.failures;
const GROUPS_MAX = 100;
const EVERY_MS = 5000;
const TYPED_MS = 400;
const CODES = ["handler_error", "timed_out", "worker_crashed", "rejected", "bad_result", "result_too_large", "shutdown", "files_lost"];

export const title = STRINGS.pages.failures;

export default function Page({params, query}) {
  return params.id ? html`<${FailureGroup} id=${params.id} />` : html`<${Groups} query=${query} />`;
}

function Groups({query}) {
  const sort = {key: query.sort ?? "last_at", descending: query.order !== "up"};
  const {type, queue, error, text} = query;
  const asked = {type, queue, error, "message~": text, limit: GROUPS_MAX, sort: sort.key === "count" ? "count" : "newest"};
  const {document, problem} = usePolled("v1/failures", {query: asked, everyMs: EVERY_MS});
  const hidden = useStore(muted.store);
  const groups = document?.groups ?? [];
  const ofMuted = groups.filter(({id}) => hidden.includes(id));
  const shown = query.muted ? groups : groups.filter(({id}) => !hidden.includes(id));
  const change = (changes) => go("failures", {}, {...query, ...changes}, {replace: true});
  return html`
    <${PageHead} title=${title} />
    <${Filters} query=${query} change=${change} />
    <${Awaited} document=${document} problem=${problem} />
    ${document && html`
      <p class="row muted" role="status">
        <span>${S.found(document.total)}</span>
        ${ofMuted.length > 0 && html`
          <button class="button small" aria-pressed=${Boolean(query.muted)} onClick=${() => change({muted: query.muted ? "" : "1"})}>${query.muted ? S.hideMuted : S.showMuted(ofMuted.length)}</button>`}
      </p>
      <${Table} label=${title} columns=${columnsOf(document.step_s, hidden)} rows=${sorted(shown, sort)} rowKey=${(row) => row.id}
        sort=${sort} onSort=${({key, descending}) => change({sort: key, order: descending ? "" : "up"})}
        onOpen=${(row) => go("failure", {id: row.id})} empty=${isFiltered(query) ? S.noneFit : S.none} />
      ${document.other && html`<p class="note">${S.other(countText(document.other.count))}</p>`}
      ${!document.complete && html`<p class="note">${S.incomplete}</p>`}`}`;
}

const isFiltered = ({type, queue, error, text}) => Boolean(type || queue || error || text);

function sorted(groups, {key, descending}) {
  const order = (a, b) => (a[key] < b[key] ? -1 : a[key] > b[key] ? 1 : 0);
  return [...groups].sort((a, b) => (descending ? -order(a, b) : order(a, b)));
}

function columnsOf(stepS, hidden) {
  return [
    {key: "count", title: S.count, align: "end", sortable: true, render: (row) => countText(row.count)},
    {key: "type", title: S.type, sortable: true, align: "whole", render: (row) => html`<${Text} value=${row.type} max=${40} />`},
    {key: "code", title: S.code, sortable: true, align: "whole", render: (row) => html`<span><code class="failed">${row.code}</code></span>`},
    {key: "message", title: S.message, render: (row) => html`<a class="failure-message" href=${href("failure", {id: row.id})}>${visibleText(row.message) || S.noMessage}</a> ${hidden.includes(row.id) && html`<${Badge} kind="later">${S.mutedBadge}<//>`}`},
    {key: "counts", title: S.course, align: "whole", render: (row) => html`<${Course} group=${row} stepS=${stepS} />`},
    {key: "first_at", title: S.first, sortable: true, render: (row) => html`<${Age} at=${row.first_at} />`},
    {key: "last_at", title: S.last, sortable: true, render: (row) => html`<${Age} at=${row.last_at} />`},
  ];
}

/** When the failures of a group were, as a small line. */
function Course({group, stepS}) {
  return html`<span class="failure-course"><${Sparkline} values=${group.counts} label=${S.courseOf(stepS)} kind="failed" /></span>`;
}

function Filters({query, change}) {
  const queues = usePolled("v1/queues", {everyMs: EVERY_MS}).document?.queues ?? [];
  const types = usePolled("v1/types", {everyMs: 30_000}).document?.types ?? [];
  const choose = (name) => (event) => change({[name]: event.target.value});
  return html`
    <form class="row" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label=${S.type} value=${query.type} names=${types.map(({type}) => type)} onChange=${choose("type")} />
      <${Choice} label=${S.queue} value=${query.queue} names=${queues.map(({name}) => name)} onChange=${choose("queue")} />
      <${Choice} label=${S.code} value=${query.error} names=${CODES} onChange=${choose("error")} />
      <${Search} value=${query.text ?? ""} onChange=${(text) => change({text})} />
    </form>`;
}

function Choice({label, value = "", names, onChange}) {
  const all = value && !names.includes(value) ? [value, ...names] : names;
  return html`
    <label class="row">${label}
      <select value=${value} onChange=${onChange}>
        <option value="">${S.any}</option>
        ${all.map((name) => html`<option key=${name} value=${name} selected=${name === value}>${visibleText(name, 60)}</option>`)}
      </select>
    </label>`;
}

/** A field that asks the server when the viewer has stopped typing. */
function Search({value, onChange}) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return undefined;
    const timer = setTimeout(() => onChange(text), TYPED_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return html`
    <label class="row">${S.message}
      <input type="search" data-search maxlength="200" value=${text} placeholder=${S.searchHint} onInput=${(event) => setText(event.target.value)} />
    </label>`;
}
