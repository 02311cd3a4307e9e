/** The page Callers: what each key, certificate, user or address uses of its limits; a caller can be blocked for a while. */

import {Awaited} from "../components/awaited.js";
import {Badge} from "../components/badge.js";
import {BlockDialog} from "../components/block_dialog.js";
import {durationText} from "../components/duration.js";
import {Empty} from "../components/empty.js";
import {Age} from "../components/instant.js";
import {bytesText, countText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {Table} from "../components/table.js";
import {Text, visibleText} from "../components/text.js";
import {toast} from "../components/toast.js";
import {curlOf, send} from "../data/api.js";
import {reloadAll, usePolled} from "../data/polling.js";
import {go, href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

const S = STRINGS.callers;
const CALLERS_MAX = 200;
const EVERY_MS = 2000;

export const title = STRINGS.pages.callers;

export default function Page({params, query}) {
  const {may, mayChange} = useSession();
  const isAdmin = may("admin");
  const {document, problem} = usePolled(isAdmin ? "v1/callers" : null, {query: {limit: CALLERS_MAX}, everyMs: EVERY_MS});
  const [blocking, setBlocking] = useState(null);
  const sort = query.sort ? {key: query.sort, descending: query.order !== "up"} : null;
  const {name: wanted} = params;
  const callers = (document?.callers ?? []).filter(({name}) => wanted === undefined || name === wanted);
  const limited = isLimited(document?.callers ?? []);
  if (!isAdmin) return html`<${PageHead} title=${title} /><${Empty}>${S.needsAdmin}<//>`;
  return html`
    <${PageHead} title=${title} />
    <${Awaited} document=${document} problem=${problem} />
    ${wanted !== undefined && html`<p><a href=${href("callers")}>${S.all}</a></p>`}
    ${document && html`
      <p class="muted" role="status">${document.complete ? S.found(document.total) : S.foundPart(countText(document.total))}</p>
      <${Table} label=${title} columns=${columnsOf(limited, mayChange("admin") && setBlocking)} rows=${sorted(callers, sort)} rowKey=${keyOf}
        sort=${sort} onSort=${({key, descending}) => go("callers", params, {...query, sort: key, order: descending ? "" : "up"}, {replace: true})}
        empty=${wanted === undefined ? S.none : S.notThere} />
      ${!limited.requests && html`<p class="muted">${S.unlimited}</p>`}`}
    ${blocking && html`<${BlockDialog} caller=${blocking} onClose=${() => setBlocking(null)} />`}`;
}

const keyOf = ({name}) => name ?? "";

/** Return which of the measures that are counted only where they are limited there are. */
function isLimited(callers) {
  const has = (member) => callers.some((caller) => caller[member] !== null);
  return {requests: has("requests"), submissions: has("submissions"), connections: has("connections"), waits: has("waits")};
}

function sorted(callers, sort) {
  if (!sort) return callers; // blocked ones first, then by use, as the server has them
  const value = (caller) => {
    const found = caller[sort.key];
    return found !== null && typeof found === "object" ? found.used / found.limit : (found ?? -1);
  };
  const order = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
  return [...callers].sort((a, b) => (sort.descending ? -order(a, b) : order(a, b)));
}

function columnsOf(limited, block) {
  const numbers = {align: "end", sortable: true};
  return [
    {key: "name", title: S.name, sortable: true, render: (row) => html`<${Name} caller=${row} />`},
    {key: "kind", title: S.kind, sortable: true, render: (row) => S.kinds[row.kind] ?? row.kind},
    limited.requests && {key: "requests", title: S.requests, ...numbers, render: (row) => html`<${Rate} rate=${row.requests} />`},
    limited.submissions && {key: "submissions", title: S.submissions, ...numbers, render: (row) => html`<${Rate} rate=${row.submissions} />`},
    {key: "jobs_live", title: S.live, ...numbers, render: (row) => ofMax(countText(row.jobs_live), row.jobs_max)},
    {key: "records", title: S.records, ...numbers, render: (row) => ofMax(countText(row.records), row.records_max)},
    {key: "bytes", title: S.bytes, ...numbers, render: (row) => ofMax(bytesText(row.bytes), row.bytes_max, bytesText)},
    limited.connections && {key: "connections", title: S.connections, ...numbers, render: (row) => ofMax(countText(row.connections), row.connections_max)},
    limited.waits && {key: "waits", title: S.waits, ...numbers, render: (row) => ofMax(countText(row.waits), row.waits_max)},
    {key: "rejected", title: S.rejected, ...numbers, render: (row) => countText(row.rejected)},
    {key: "blocked_until", title: S.blocked, sortable: true, render: (row) => html`<${Block} caller=${row} block=${block} />`},
  ].filter(Boolean);
}

const ofMax = (used, max, text = countText) => (max === null ? used : S.of(used, text(max)));

function Name({caller}) {
  if (caller.name === null) return html`<em>${S.application}</em>`;
  return html`<${Text} value=${caller.name} max=${60} />`;
}

function Rate({rate}) {
  if (rate === null) return html`<span class="muted">–</span>`;
  return html`<span class="nowrap" title=${S.rate(rate.count, durationText(rate.period_s))}>${S.of(countText(rate.used), countText(rate.limit))}</span>`;
}

function Block({caller, block}) {
  const {name, blocked_until: until} = caller;
  const unblock = async () => {
    const path = `v1/callers/${encodeURIComponent(name)}:unblock`;
    try {
      await send("POST", path);
      toast({sentence: S.unblocked(visibleText(name, 80)), curl: curlOf("POST", path)});
    } catch (problem) {
      toast({sentence: S.failed(problem.detail ?? problem.title), kind: "bad"});
    }
    reloadAll("v1/callers");
  };
  return html`<span class="row">
    ${until !== null && html`<${Badge} kind="bad">${S.blockedBadge}<//> <span>${S.ends} <${Age} at=${until} /></span>`}
    ${name !== null && block && (until === null
      ? html`<button class="button small" aria-label=${S.blockOne(visibleText(name, 80))} onClick=${() => block(caller)}>${S.block}</button>`
      : html`<button class="button small" aria-label=${S.unblockOne(visibleText(name, 80))} onClick=${unblock}>${S.unblock}</button>`)}
  </span>`;
}
