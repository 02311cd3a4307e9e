/** Durations in words: 850 µs, 12 ms, 3.4 s, 2 min 5 s, 3 h 20 min, 2 d 4 h. */

import {html} from "../ui.js";

/** Return seconds in words; a dash where there are none. */
export function durationText(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0) return `−${durationText(-seconds)}`;
  if (seconds < 0.001) return `${Math.max(1, Math.round(seconds * 1e6))} µs`;
  if (seconds < 0.9995) return `${significant(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${significant(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return pair(whole, 60, "min", 1, "s");
  if (whole < 86_400) return pair(whole, 3600, "h", 60, "min");
  return pair(whole, 86_400, "d", 3600, "h");
}

function significant(value) {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(value >= 10 ? 3 : 2)));
}

function pair(whole, large, largeName, small, smallName) {
  const rest = Math.floor((whole % large) / small);
  return `${Math.floor(whole / large)} ${largeName}${rest ? ` ${rest} ${smallName}` : ""}`;
}

export function Duration({seconds}) {
  const title = seconds === null || seconds === undefined ? null : `${seconds} s`;
  return html`<span class="nowrap" title=${title}>${durationText(seconds)}</span>`;
}
