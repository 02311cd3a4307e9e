/** A chart over loads: one line for each setting, told apart by dashes and by the number at its end. */

import {STRINGS} from "../strings.js";
import {html} from "../ui.js";

const S = STRINGS.whatIf;
const WIDTH = 640;
const HEIGHT = 220;
const LEFT = 56;
const RIGHT = 60;
const TOP = 12;
const BOTTOM = 26;
const LINE_HEIGHT = 13;
const DASHES = ["", "8 4", "2 3", "10 3 2 3", "5 2", "1 4"];

/**
 * @param {object} props `title`; `loads`: texts below the axis; `series`: `[{key, label, values, kind}]` with a value, or
 *   null, for each load, six at most; `text(value)`: a value in words.
 */
export function LoadChart({title, loads, series, text}) {
  const known = series.flatMap(({values}) => values).filter((value) => value !== null);
  const top = Math.max(...known, 0) * 1.08 || 1;
  const x = (column) => LEFT + (loads.length > 1 ? (column * (WIDTH - LEFT - RIGHT)) / (loads.length - 1) : 0);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  return html`
    <figure class="load-chart stack" role="group" aria-label=${title}>
      <div class="chart-head">
        <h3>${title}</h3>
        <ul class="legend">
          ${series.map(({key, label, kind}, number) => html`
            <li key=${key}>
              <svg class="swatch ${kind}" viewBox="0 0 26 10" aria-hidden="true"><path d="M0 5h26" stroke-dasharray=${DASHES[number]} /></svg>
              <b>${number + 1}</b> ${label}
            </li>`)}
        </ul>
      </div>
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${S.chartText(title)}>
        ${[0, 0.25, 0.5, 0.75, 1].map((share) => html`
          <g key=${share}>
            <line class="grid" x1=${LEFT} x2=${WIDTH - RIGHT} y1=${y(share * top)} y2=${y(share * top)} />
            <text class="axis end" x=${LEFT - 6} y=${y(share * top) + 4}>${text(share * top)}</text>
          </g>`)}
        ${loads.map((load, column) => html`<text key=${load} class="axis middle" x=${x(column)} y=${HEIGHT - 6}>${load}</text>`)}
        ${series.map((each, number) => html`<${Line} key=${each.key} number=${number} ...${each} x=${x} y=${y} />`)}
        ${endsOf(series, x, y).map(({numbers, at: [left, height]}) => html`<text key=${numbers} class="axis" x=${left + 7} y=${height + 4}>${numbers}</text>`)}
      </svg>
    </figure>`;
}

/** Return the numbers of the lines where they end; lines that end at nearly the same height share a text. */
function endsOf(series, x, y) {
  const ends = [];
  for (const [number, {values}] of series.entries()) {
    const column = values.findLastIndex((value) => value !== null);
    if (column < 0) continue;
    const at = [x(column), y(values[column])];
    const near = ends.find(({at: [left, height]}) => left === at[0] && Math.abs(height - at[1]) < LINE_HEIGHT);
    if (near) near.numbers += ` ${number + 1}`;
    else ends.push({numbers: String(number + 1), at});
  }
  return ends;
}

function Line({values, kind, number, x, y}) {
  const points = values.map((value, column) => (value === null ? null : [x(column), y(value)])).filter(Boolean);
  if (!points.length) return null;
  return html`
    <g class="load-line ${kind}">
      <polyline points=${points.map((point) => point.join(",")).join(" ")} stroke-dasharray=${DASHES[number]} />
      ${points.map(([left, top]) => html`<circle key=${left} cx=${left} cy=${top} r="3" />`)}
    </g>`;
}
