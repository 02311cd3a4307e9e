/** The times of a queue or a type, lately: histograms of waits and runs, from `v1/stats`. */

import {totals} from "../data/histogram.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Histogram} from "./histogram.js";
import {Problem} from "./problem.js";

const S = STRINGS.queue;

/**
 * @param {object} props `stats`: what `usePolled` returned for `v1/stats`; `name`: of the series; `waits`: whether it has
 *   waits, too (queues have).
 */
export function DurationsPanel({stats, name, waits = false}) {
  const {document, problem} = stats;
  const series = document?.series.find((each) => each.name === name);
  return html`
    <section class="card stack">
      <h2>${S.history}</h2>
      ${problem && html`<${Refused} problem=${problem} />`}
      ${document && html`
        <div class="columns">
          ${waits && html`<${Histogram} title=${S.waits} bounds=${document.bounds_s} counts=${totals(series?.waits)} />`}
          <${Histogram} title=${S.runs} bounds=${document.bounds_s} counts=${totals(series?.runs)} />
        </div>`}
    </section>`;
}

function Refused({problem}) {
  if (problem.status === 403) return html`<p class="muted">${S.hiddenHistory}</p>`;
  if (problem.status === 404) return html`<p class="muted">${S.noHistory}</p>`;
  return html`<${Problem} of=${problem} />`;
}
