/** The page Overview: what is wrong now, how many jobs there are, what the queues did, and how the server is. */

import {BigNumber} from "../components/big_number.js";
import {Empty} from "../components/empty.js";
import {Findings} from "../components/findings.js";
import {HistoryCharts} from "../components/history_charts.js";
import {countText, rateText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {Problem} from "../components/problem.js";
import {QueueStrip, LIVE_STATES, liveOf} from "../components/queue_strip.js";
import {ServerFacts} from "../components/server_facts.js";
import {ENDS, RANGES, gaugesOf, ratesOf, useHistory} from "../data/history.js";
import {usePolled} from "../data/polling.js";
import {go, href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useMemo, useRef} from "../ui.js";

const S = STRINGS.overview;
const MINUTE = 60;
const LIVE = ["waiting", "delayed", "queued", "running"];

export const title = STRINGS.pages.overview;

export default function Overview({query}) {
  const range = query.range in RANGES ? query.range : "5m";
  const {document, problem, at} = usePolled("v1/queues", {everyMs: 1000});
  const {history, problem: noHistory} = useHistory({range});
  const minute = useHistory({range: "5m"}).history;
  return html`
    <${PageHead} title=${title}>
      <label class="row">${S.range}
        <select aria-label=${S.rangeLabel} value=${range} onChange=${(event) => go("overview", {}, {range: event.target.value}, {replace: true})}>
          ${Object.keys(RANGES).map((name) => html`<option value=${name} selected=${name === range}>${S.ranges[name]}</option>`)}
        </select>
      </label>
    <//>
    <${Findings} />
    <${Problem} of=${problem} />
    ${document && html`<${Numbers} queues=${document.queues} history=${minute} at=${at} />`}
    <${Problem} of=${noHistory?.slug === "not-found" ? null : noHistory} />
    ${noHistory?.slug === "not-found" && !history && html`<p class="muted">${S.noHistory}</p>`}
    <${HistoryCharts} history=${history} spanS=${RANGES[range].rangeS} />
    ${document && html`<${Strips} queues=${document.queues} />`}
    <${ServerFacts} loopLagS=${document?.loop_lag_s} />`;
}

function Numbers({queues, history, at}) {
  const sums = useMemo(() => sumsOf(queues), [queues]);
  const waiting = useCourse(sums.waiting, at);
  const {store} = useSession();
  const delayed = useCourse(sums.delayed, at);
  const points = useMemo(() => (history?.points ?? []).slice(-MINUTE), [history]);
  const courses = {
    waiting,
    delayed,
    queued: gaugesOf(points, "waiting"),
    running: gaugesOf(points, "running"),
    ...Object.fromEntries(ENDS.map((end) => [end, ratesOf(points, end)])),
  };
  const refused = points.map((point) => (point.coveredS ? totalOf(point.refused) / point.coveredS : null));
  return html`
    <section class="big-numbers" aria-label=${S.numbers}>
      ${[...LIVE, ...ENDS].map((state) => {
        const isLive = LIVE.includes(state);
        return html`
          <${BigNumber} key=${state} kind=${state} label=${STRINGS.states[state]} count=${sums[state]} values=${courses[state]}
            course=${isLive ? S.course(STRINGS.states[state]) : S.rateCourse(STRINGS.states[state])}
            detail=${isLive ? S.now : S.sinceStart(rateText(recent(courses[state])), store)} link=${href("jobs", {}, {q: `state:${state}`})} />`;
      })}
      <${BigNumber} kind="rejected" label=${S.rejected} count=${sums.refused} values=${refused} course=${S.rateCourse(S.rejected)}
        detail=${S.sinceStart(rateText(recent(refused)), store)} />
    </section>`;
}

function sumsOf(queues) {
  const sums = {};
  const sum = (member) => queues.reduce((total, queue) => total + queue[member], 0);
  for (const state of LIVE) sums[state] = sum(state);
  for (const end of [...ENDS, "refused"]) sums[end] = sum(`${end}_total`);
  return sums;
}

/** The rate over the last seconds: of one second alone it jumps. */
function recent(values) {
  const known = values.slice(-5).filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

const totalOf = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);

/** Return the values of the last minute, one for each answer: of what the history doesn't have. */
function useCourse(value, at) {
  const course = useRef({values: [], at: null});
  if (course.current.at !== at) course.current = {values: [...course.current.values, value].slice(-MINUTE), at};
  return course.current.values;
}

function Strips({queues}) {
  const fullest = useMemo(() => [...queues].sort((one, other) => filling(other) - filling(one)), [queues]);
  return html`
    <section class="card stack" aria-labelledby="strips">
      <div class="spread">
        <h2 id="strips">${S.queues(countText(queues.length))}</h2>
        <span class="legend">
          ${LIVE_STATES.map((state) => html`<span class="row" key=${state}><span class="bar key-bar"><span class="part whole ${state}" /></span>${STRINGS.states[state]}</span>`)}
        </span>
      </div>
      ${queues.length ? html`<div class="strips">${fullest.map((queue) => html`<${QueueStrip} key=${queue.name} queue=${queue} />`)}</div>` : html`<${Empty}>${S.noQueues}<//>`}
    </section>`;
}

/** How full a queue is, in steps, so that strips don't change places all the time. */
function filling(queue) {
  return Math.round((10 * liveOf(queue)) / Math.max(1, queue.capacity)) + (queue.paused ? 0.5 : 0);
}
