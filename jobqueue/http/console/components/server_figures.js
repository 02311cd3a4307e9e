/** The figures of the server in groups: the process, its loop, connections, records, files, journal, shared store, pools, log. */

import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Badge} from "./badge.js";
import {durationText} from "./duration.js";
import {Age, Instant} from "./instant.js";
import {bytesText, countText, shareText} from "./number.js";
import {Text} from "./text.js";

const S = STRINGS.server.figures;
const NEARLY_FULL = 0.9;
const MEMBERS_SHOWN = 20;

/** @param {object} props `server`: the document of `v1/server`. */
export function ServerFigures({server}) {
  return html`
    <div class="figure-groups">
      ${groupsOf(server).map(({name, facts}) => html`
        <section class="card stack" key=${name} aria-label=${name}>
          <h2>${name}</h2>
          <dl class="facts">${facts.filter(Boolean).map(([term, value]) => html`<dt key=${term}>${term}</dt><dd>${value}</dd>`)}</dl>
        </section>`)}
    </div>`;
}

function groupsOf(server) {
  const {process, threads, processes} = server;
  const records = server.jobs_live + server.jobs_terminal;
  return [
    {
      name: S.process,
      facts: [
        [S.started, html`<${Instant} at=${server.started_at} />, <${Age} at=${server.started_at} />`],
        [S.cpu, durationText(server.cpu_s)],
        process && [S.memory, bytesText(process.rss_bytes)],
        process && [S.files, countText(process.open_files)],
        [S.run, html`<code>${server.run}</code>`],
        server.degraded.length > 0 && [S.degraded, html`<${Text} value=${server.degraded.join("; ")} max=${300} />`],
      ],
    },
    {
      name: S.loop,
      facts: [
        [S.lag, durationText(server.loop_lag_s)],
        process && [S.lagMedian, durationText(process.loop_lag_s_p50)],
        process && [S.lagMax, durationText(process.loop_lag_s_max)],
      ],
    },
    {
      name: S.connections,
      facts: [
        process && [S.open, filled(process.connections, process.connections_max, countText)],
        [S.longPolls, filled(server.long_polls, server.long_polls_max, countText)],
        [S.streams, countText(server.streams)],
      ],
    },
    {
      name: S.store,
      facts: [
        [S.records, filled(records, server.jobs_max, countText)],
        [S.live, countText(server.jobs_live)],
        [S.terminal, countText(server.jobs_terminal)],
        [S.bytes, filled(server.jobs_bytes, server.jobs_bytes_max, bytesText)],
        [S.spool, filled(server.spool_bytes, server.spool_bytes_max, bytesText)],
      ],
    },
    ...(server.journal ? [{name: S.journal, facts: journalFacts(server.journal)}] : []),
    ...(server.store ? [{name: S.sharedStore, facts: storeFacts(server.store)}] : []),
    {
      name: S.pools,
      facts: [
        [S.threads, S.pool(threads.busy, threads.idle, threads.size)],
        threads.abandoned > 0 && [S.abandoned, html`<${Badge} kind="warn">${countText(threads.abandoned)}<//>`],
        [S.processes, processes.size ? S.pool(processes.busy, processes.idle, processes.size) : S.none],
        processes.size > 0 && [S.restarts, countText(processes.restarts)],
      ],
    },
    {
      name: S.log,
      facts: process
        ? [
            [S.level, process.log_level],
            [S.dropped, process.log_lines_dropped ? html`<${Badge} kind="warn">${countText(process.log_lines_dropped)}<//>` : "0"],
            [S.sources, html`<${Text} value=${process.config} max=${120} />`],
            [S.loaded, html`<${Age} at=${process.config_loaded_at} />`],
            process.config_reload_failed && [S.lastReload, html`<${Badge} kind="bad">${S.failed}<//>`],
          ]
        : [[S.level, S.mounted]],
    },
  ];
}

function journalFacts(journal) {
  const restored = Object.entries(journal.recovered).filter(([, count]) => count > 0);
  return [
    [S.state, html`<${Badge} kind=${journal.state === "ok" ? "good" : "bad"}>${journal.state}<//>`],
    journal.reason && [S.reason, html`<${Text} value=${journal.reason} max=${300} />`],
    [S.sync, journal.sync],
    [S.journalBytes, filled(journal.bytes, journal.bytes_max, bytesText)],
    [S.commits, countText(journal.commits)],
    journal.commits > 0 && [S.commitTimes, S.medianWorst(durationText(journal.commit_s_p50), durationText(journal.commit_s_max))],
    journal.errors > 0 && [S.errors, html`<${Badge} kind="bad">${countText(journal.errors)}<//>`],
    [S.snapshot, journal.snapshot_at ? html`<${Age} at=${journal.snapshot_at} />` : S.noSnapshot],
    [S.recovered, restored.length ? restored.map(([state, count]) => `${countText(count)} ${state}`).join(", ") : "0"],
    [S.folder, html`<${Text} value=${journal.folder} max=${120} />`],
  ];
}

function storeFacts(store) {
  const errors = Object.entries(store.errors);
  return [
    [S.state, html`<${Badge} kind=${store.up ? "good" : "bad"}>${store.up ? S.answers : S.silent}<//>`],
    [S.since, html`<${Age} at=${store.since} />`],
    store.reason && [S.reason, html`<${Text} value=${store.reason} max=${300} />`],
    [S.servers, html`${countText(store.servers)}${store.members.slice(0, MEMBERS_SHOWN).map(({name, joined_at, own}) => html`
      <div key=${name}><${Text} value=${name} max=${80} /> <span class="muted">${own ? `${S.thisOne}, ` : ""}<${Age} at=${joined_at} /></span></div>`)}
      ${store.servers > MEMBERS_SHOWN && html`<div class="muted">${S.more(store.servers - MEMBERS_SHOWN)}</div>`}`],
    store.missing.length > 0 && [S.missing, store.missing.map(({name, heard_at}) => html`
      <div key=${name}><${Badge} kind="warn"><${Text} value=${name} max=${80} /><//> <span class="muted"><${Age} at=${heard_at} /></span></div>`)],
    [S.durability, store.durability],
    store.call_s_p50 !== null && [S.callTime, durationText(store.call_s_p50)],
    [S.calls, countText(store.calls)],
    errors.length > 0 && [S.errors, html`<${Badge} kind="warn">${errors.map(([kind, count]) => `${countText(count)} ${kind}`).join(", ")}<//>`],
    store.reconnects > 0 && [S.reconnects, countText(store.reconnects)],
    [S.address, html`<${Text} value=${store.address} max=${120} />`],
    [S.namespace, html`<${Text} value=${store.namespace} max=${120} />`],
    store.product && [S.product, store.product],
  ];
}

/** A number of the most that there may be, as a share too; marked when little is left. */
function filled(count, most, text) {
  const share = most > 0 ? count / most : 0;
  const told = html`${S.of(text(count), text(most))} <span class="muted nowrap">${shareText(share)}</span>`;
  return share > NEARLY_FULL ? html`${told} <${Badge} kind="warn">${S.nearlyFull}<//>` : told;
}
