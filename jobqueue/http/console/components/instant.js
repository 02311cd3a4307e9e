/**
 * Instants: in the viewer's zone, with the exact one, of both zones, in the title and in `datetime`.
 *
 * `exact` shows the exact ones in their place, all over the console: a title needs a mouse.
 */

import {useNow} from "../data/clock.js";
import {createStore, useStore} from "../data/store.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {durationText} from "./duration.js";

const TIME = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
const TIME_MS = new Intl.DateTimeFormat(undefined, {
  ...{hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23"},
});
const DAY = new Intl.DateTimeFormat(undefined, {month: "short", day: "numeric"});
const WHOLE = new Intl.DateTimeFormat(undefined, {
  ...{year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit"},
  ...{fractionalSecondDigits: 3, hourCycle: "h23", timeZoneName: "short"},
});

/** Whether instants and ages are written out. */
export const exact = createStore(false);

/** Return milliseconds of an instant: a timestamp of the API, or milliseconds; null where there is none. */
export function msOf(at) {
  if (at === null || at === undefined) return null;
  const ms = typeof at === "number" ? at : Date.parse(at);
  return Number.isNaN(ms) ? null : ms;
}

/** Return the time of day; with the day, if it is not today's. */
export function instantText(at, {withMs = false} = {}) {
  const ms = msOf(at);
  if (ms === null) return "–";
  const time = (withMs ? TIME_MS : TIME).format(ms);
  const sameDay = new Date(ms).toDateString() === new Date().toDateString();
  return sameDay ? time : `${DAY.format(ms)} ${time}`;
}

/** Return the exact instant: in the viewer's zone, then as the API has it. */
export function exactText(at) {
  const ms = msOf(at);
  return ms === null ? null : `${WHOLE.format(ms)} = ${typeof at === "number" ? new Date(ms).toISOString() : at}`;
}

/** @param {object} props `withMs`: shows milliseconds, too. */
export function Instant({at, withMs = false}) {
  const isExact = useStore(exact);
  if (isExact && msOf(at) !== null) return html`<${Exact} at=${at} />`;
  return html`<time class="nowrap" datetime=${isoOf(at)} title=${exactText(at)}>${instantText(at, {withMs})}</time>`;
}

/** The time since an instant, or until it: "3 min 4 s ago", "in 12 s". */
export function Age({at, plain = false}) {
  const now = useNow();
  const isExact = useStore(exact);
  const ms = msOf(at);
  if (ms === null) return html`<span class="muted">–</span>`;
  if (isExact && !plain) return html`<${Exact} at=${at} />`;
  return html`<time class="nowrap" datetime=${isoOf(at)} title=${exactText(at)}>${ageText(ms, now, plain)}</time>`;
}

function Exact({at}) {
  return html`<time datetime=${isoOf(at)}>${exactText(at)}</time>`;
}

function ageText(ms, now, plain) {
  const seconds = Math.round((now - ms) / 1000);
  if (plain) return durationText(Math.abs(seconds));
  if (seconds >= 0) return seconds < 1 ? STRINGS.time.now : STRINGS.time.ago(durationText(seconds));
  return STRINGS.time.in(durationText(-seconds));
}

function isoOf(at) {
  const ms = msOf(at);
  return ms === null ? null : new Date(ms).toISOString();
}
