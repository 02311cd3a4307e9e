/** The charts of a history: throughput by end, waits and runs by percentile, rejections by reason; one crosshair. */

import {ENDS, ratesOf} from "../data/history.js";
import {percentile} from "../data/percentiles.js";
import {STRINGS} from "../strings.js";
import {html, useMemo} from "../ui.js";
import {Chart} from "./chart.js";
import {durationText} from "./duration.js";
import {rateText} from "./number.js";

const S = STRINGS.charts;
const SHARES = [
  {key: "p50", share: 0.5, dash: "solid", kind: "--accent"},
  {key: "p95", share: 0.95, dash: "dashed", kind: "--later"},
  {key: "p99", share: 0.99, dash: "dotted", kind: "--bad"},
];
const REASON_KINDS = ["failed", "expired", "cancelled", "running", "delayed", "succeeded", "queued"];

/** @param {object} props `history`: of `useHistory`; `spanS`: the seconds of its range; `waits`: false where there are none, as of types. */
export function HistoryCharts({history, spanS, waits = true}) {
  const columns = useMemo(() => history && columnsOf(history), [history]);
  if (!columns) return null;
  return html`
    <div class="charts">
      <div class="card"><${Chart} title=${S.throughput} x=${columns.x} spanS=${spanS} series=${columns.ends} stacked text=${rateText} /></div>
      ${waits && html`<div class="card"><${Chart} title=${S.waits} x=${columns.x} spanS=${spanS} series=${columns.waits} log text=${durationText} /></div>`}
      <div class="card"><${Chart} title=${S.runs} x=${columns.x} spanS=${spanS} series=${columns.runs} log text=${durationText} /></div>
      ${waits && html`
        <div class="card">
          ${columns.refused.length
            ? html`<${Chart} title=${S.refused} x=${columns.x} spanS=${spanS} series=${columns.refused} stacked text=${rateText} />`
            : html`<h3>${S.refused}</h3><p class="muted">${S.noneRefused}</p>`}
        </div>`}
    </div>`;
}

function columnsOf({points, boundsS}) {
  const percentiles = (member) =>
    SHARES.map(({key, share, dash, kind}) => ({
      ...{key, dash, kind, label: key},
      values: points.map((point) => percentile(point[member], boundsS, share)),
    }));
  const reasons = [...new Set(points.flatMap(({refused}) => Object.keys(refused)))].sort();
  return {
    x: points.map(({at}) => at),
    ends: ENDS.map((key) => ({key, kind: key, label: STRINGS.states[key], values: ratesOf(points, key)})),
    waits: percentiles("waits"),
    runs: percentiles("runs"),
    refused: reasons.map((key, n) => ({
      ...{key, label: key, kind: REASON_KINDS[n % REASON_KINDS.length]},
      values: points.map(({refused, coveredS}) => (coveredS ? (refused[key] ?? 0) / coveredS : null)),
    })),
  };
}
