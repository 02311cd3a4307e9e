/** The timeline of a job: a row for each attempt, with bars for its delay, wait and run on one axis of time. */

import {html} from "../ui.js";
import {timelineOf} from "../data/timeline.js";
import {STRINGS} from "../strings.js";
import {Duration} from "./duration.js";

const BAR_MIN = 0.4; // per cent: a short attempt is still seen

/**
 * @param {object} props
 * @param {object} props.job Its document.
 * @param {number} props.now Milliseconds.
 */
export function Timeline({job, now}) {
  const {rows, from, to, missing} = timelineOf(job, now);
  const texts = STRINGS.job.timeline;
  return html`<section class="timeline card" aria-label=${texts.title}>
    <div class="spread"><h2>${texts.title}</h2>
      <ul class="timeline-legend" aria-hidden="true">
        ${["delay", "wait", "run"].map((kind) => html`<li><span class=${`bar ${kind}`}></span>${texts.kinds[kind]}</li>`)}
      </ul></div>
    ${missing > 0 && html`<p class="muted">${texts.missing(missing)}</p>`}
    <ol class="timeline-rows">
      ${rows.map((row) => html`<${Row} key=${row.attempt ?? "next"} row=${row} from=${from} span=${to - from} />`)}
    </ol>
    <p class="timeline-axis muted"><span>${texts.created}</span>
      <span><${Duration} seconds=${(to - from) / 1000} /> ${job.finished_at ? texts.total : texts.tillNow}</span></p>
  </section>`;
}

function Row({row, from, span}) {
  const texts = STRINGS.job.timeline;
  const seen = row.segments.filter(({kind, from: begin, to: end}) => kind === "run" || end - begin >= 1);
  return html`<li class="timeline-row">
    <span class="timeline-label">${row.attempt === null ? texts.next : texts.attempt(row.attempt)}</span>
    <span class="timeline-track" aria-hidden="true">
      ${row.segments.map((segment) => html`<span class=${barClass(segment, row)} style=${placeOf(segment, from, span)}></span>`)}
    </span>
    <span class="timeline-text">
      ${seen.map(({kind, from: begin, to: end}, index) => html`${index > 0 && ", "}${texts.did[kind]} <${Duration} seconds=${(end - begin) / 1000} />`)}
      ${row.end && html`: <strong class=${`outcome ${endClass(row.end)}`}>${texts.ends[row.end] ?? row.end}</strong>`}
    </span>
  </li>`;
}

const barClass = ({kind}, {end}) => (kind === "run" ? `bar run ${endClass(end)}` : `bar ${kind}`);

function endClass(end) {
  return ["running", "succeeded", "cancelled"].includes(end) ? end : "failed";
}

/** Return where a bar stands; a very short one keeps a width that can be seen. */
function placeOf({from: begin, to: end}, from, span) {
  const width = Math.max(BAR_MIN, ((end - begin) / span) * 100);
  const left = Math.min(((begin - from) / span) * 100, 100 - BAR_MIN);
  return {left: `${left}%`, width: `${Math.min(width, 100 - left)}%`};
}
