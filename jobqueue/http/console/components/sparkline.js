/** A sparkline: the course of one number, as wide as its place; its words stand in its label. */

import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {shortText} from "./number.js";

const WIDTH = 100;
const HEIGHT = 24;

/** @param {object} props `values`: oldest first, null for a gap; `label`: what they are; `kind`: a colour, as of states. */
export function Sparkline({values, label, kind = ""}) {
  const known = values.filter((value) => value !== null);
  const max = Math.max(0, ...known);
  const last = known.at(-1) ?? null;
  return html`
    <svg class="sparkline ${kind}" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img"
      aria-label=${STRINGS.chart.spark(label, shortText(last), shortText(max))}>
      <path class="area" d=${pathOf(values, max, true)} />
      <path class="line" d=${pathOf(values, max, false)} />
    </svg>`;
}

function pathOf(values, max, closed) {
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = values.map((value, at) => {
    const y = HEIGHT - 1 - ((value ?? 0) / (max || 1)) * (HEIGHT - 3);
    return `${(at * step).toFixed(1)} ${y.toFixed(1)}`;
  });
  if (!points.length) return "";
  return closed ? `M0 ${HEIGHT}L${points.join("L")}L${WIDTH} ${HEIGHT}Z` : `M${points.join("L")}`;
}
