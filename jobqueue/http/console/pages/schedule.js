/** The page Schedule: one schedule, the instants to come, and what became of its ticks. */

import {Awaited} from "../components/awaited.js";
import {durationText} from "../components/duration.js";
import {Age, Instant} from "../components/instant.js";
import {JsonTree} from "../components/json_tree.js";
import {countText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {Problem} from "../components/problem.js";
import {ScheduleActions} from "../components/schedule_actions.js";
import {Condition, LastTick, When} from "../components/schedule_facts.js";
import {Text, visibleText} from "../components/text.js";
import {compact, memberOf, parseJson} from "../data/json_text.js";
import {DOCUMENT_BYTES_MAX, useText} from "../data/job_text.js";
import {usePolled} from "../data/polling.js";
import {go, href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html, useMemo} from "../ui.js";

const S = STRINGS.schedules;
const EVERY_MS = 1000;

export const title = STRINGS.pages.schedule;

export default function Page({params: {name}}) {
  const path = `v1/schedules/${encodeURIComponent(name)}`;
  const {document: schedule, problem, at} = usePolled(path, {everyMs: EVERY_MS});
  if (!schedule || problem?.status === 404) {
    return html`<${PageHead} title=${visibleText(name, 80)} /><${Awaited} problem=${problem} /><p><a href=${href("schedules")}>${S.all}</a></p>`;
  }
  const leave = (action) => action === "delete" && go("schedules");
  return html`
    <${PageHead} title=${visibleText(schedule.name, 80)}><${ScheduleActions} schedule=${schedule} onDone=${leave} /><//>
    <${Problem} of=${problem} />
    <div class="columns panels">
      <${Facts} schedule=${schedule} />
      <${NextRuns} schedule=${schedule} at=${at} />
    </div>
    <${Counts} schedule=${schedule} />
    <${Arguments} path=${path} schedule=${schedule} />`;
}

function Facts({schedule}) {
  const facts = [
    [S.state, html`<${Condition} schedule=${schedule} />`],
    [S.when, html`<${When} schedule=${schedule} />`],
    [S.type, html`<a href=${href("type", {name: schedule.type})}><${Text} value=${schedule.type} max=${80} /></a>`],
    [S.queue, html`<a href=${href("queue", {name: schedule.queue})}><${Text} value=${schedule.queue} max=${80} /></a>`],
    schedule.priority > 0 && [S.priority, schedule.priority],
    [S.overlap, S.overlaps[schedule.overlap] ?? schedule.overlap],
    [S.catchUp, S.catchUps[schedule.catch_up] ?? schedule.catch_up],
    [S.source, html`${S.sources[schedule.source] ?? schedule.source}${schedule.caller !== null && html` (<${Text} value=${schedule.caller} max=${80} />)`}`],
  ];
  return html`
    <section class="card stack" aria-labelledby="schedule-facts">
      <h2 id="schedule-facts">${S.facts}</h2>
      <dl class="facts">${facts.filter(Boolean).map(([term, value]) => html`<dt key=${term}>${term}</dt><dd>${value}</dd>`)}</dl>
    </section>`;
}

function NextRuns({schedule: {next_at: nextAt, next_runs: runs = [], last, pause}}) {
  return html`
    <section class="card stack" aria-labelledby="schedule-next">
      <h2 id="schedule-next">${S.ticks}</h2>
      <dl class="facts">
        <dt>${S.last}</dt><dd><${LastTick} last=${last} /></dd>
        ${last !== null && html`<dt>${S.plannedFor}</dt><dd><${Instant} at=${last.instant} /> ${last.drift_s > 0 && html`<span class="muted">${S.late(durationText(last.drift_s))}</span>`}</dd>`}
        <dt>${S.next}</dt><dd>${nextAt === null ? (pause === null ? S.never : S.whenResumed) : html`<${Age} at=${nextAt} />`}</dd>
      </dl>
      ${runs.length > 0 && html`<ol class="plain-list" aria-label=${S.nextRuns}>${runs.map((at) => html`<li key=${at}><${Instant} at=${at} /> <span class="muted"><${Age} at=${at} /></span></li>`)}</ol>`}
    </section>`;
}

function Counts({schedule}) {
  const facts = ["submitted", "skipped", "elsewhere", "rejected", "missed"].map((each) => [S.counts[each], schedule[`${each}_total`]]);
  return html`<section class="card stack" aria-labelledby="schedule-counts">
    <h2 id="schedule-counts">${S.sinceStart}</h2>
    <dl class="tiles">${facts.map(([term, count]) => html`<div key=${term}><dt>${term}</dt><dd>${countText(count)}</dd></div>`)}</dl>
  </section>`;
}

/** The arguments of its jobs, as text: no digit is lost. */
function Arguments({path, schedule}) {
  const {text} = useText(path, {bytesMax: DOCUMENT_BYTES_MAX, key: JSON.stringify(schedule.args)});
  const args = useMemo(() => argumentsIn(text), [text]);
  return html`<section class="card stack" aria-labelledby="schedule-args">
    <h2 id="schedule-args">${S.arguments}</h2>
    ${args === "{}" ? html`<p class="muted">${S.noArguments}</p>` : args && html`<${JsonTree} text=${args} label=${S.arguments} />`}
  </section>`;
}

function argumentsIn(read) {
  if (!read?.whole) return null;
  const node = memberOf(parseJson(read.text), "args");
  return node === null ? null : compact(read.text, node);
}
