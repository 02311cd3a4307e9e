/** What a forecast is based on: what was measured, and what it would have foretold of the load that there was. */

import {MEASURES} from "../data/forecast.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {durationText} from "./duration.js";
import {countText, rateText, shareText} from "./number.js";
import {Text} from "./text.js";

const S = STRINGS.whatIf;
const TYPES_SHOWN = 5;

export function ForecastBasis({forecast}) {
  const {measured, simulated, loads, alternatives} = forecast;
  const {mean, p50, p95} = measured.run_s;
  const at1 = alternatives[0].cells[loads.indexOf(1)];
  const beside = (measure, known) => (at1 && known && MEASURES[measure].figure(at1) ? S.forecastAt1(MEASURES[measure].text(MEASURES[measure].figure(at1).mean)) : null);
  const isMeasured = measured.window_s > 0;
  const facts = [
    ["arrivals", rateText(measured.arrivals_per_s)],
    ["bursts", S.dispersion(measured.dispersion)],
    ["run", [mean, p50, p95].map(durationText).join(" · ")],
    ...(isMeasured
      ? [
          ["wait", durationText(measured.wait_s.p95), beside("wait", true)],
          ["refused", shareText(measured.refused_share), beside("refused", true)],
          ["failed", shareText(measured.failed_share)],
        ]
      : []),
    ["simulated", S.simulatedText(durationText(simulated.seconds), simulated.seeds, countText(simulated.jobs))],
  ];
  return html`
    <section class="card stack" aria-labelledby="basis">
      <h2 id="basis">${isMeasured ? S.basis : S.basisGiven} <span class="muted">${isMeasured ? S.inWindow(durationText(measured.window_s)) : S.nothingMeasured}</span></h2>
      <dl class="facts">
        ${facts.map(([name, value, more]) => html`
          <dt>${S.facts[name]}</dt>
          <dd>${value}${more && html` <span class="muted">(${more})</span>`}</dd>`)}
        ${isMeasured && html`
          <dt>${S.facts.types}</dt>
          <dd><${Types} types=${measured.types} /></dd>`}
      </dl>
    </section>`;
}

function Types({types}) {
  return html`
    <ul>
      ${types.slice(0, TYPES_SHOWN).map(({type, share, run_s: run}) => html`
        <li key=${type}><${Text} value=${type} max=${40} /> <span class="muted">${shareText(share)}, ${durationText(run.mean)}</span></li>`)}
      ${types.length > TYPES_SHOWN && html`<li class="muted">${STRINGS.text.beyond(types.length - TYPES_SHOWN)}</li>`}
    </ul>`;
}
