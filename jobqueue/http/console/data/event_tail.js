/**
 * The tail: the latest events of all jobs, and how many came.
 *
 * Rules:
 *
 * 1. It holds `KEPT_MAX` events; the oldest go. What is exported is what it holds.
 * 2. `skipped` and `reset` become gaps: places where events are missing, of which there is at most one between two events.
 * 3. It counts events by second for the rate, over the last `RATE_S` seconds.
 */

export const KEPT_MAX = 1000;
const RATE_S = 10;

export class EventTail {
  constructor() {
    this.events = [];
    this.number = 0;
    this.perSecond = new Map();
  }

  /** Add an event of the stream, as `useEvents` hands it over. */
  add({id, name, data}, nowMs = Date.now()) {
    const isGap = name === "reset" || name === "skipped";
    if (isGap && this.events.at(-1)?.gap) return;
    this.number += 1;
    this.events.push({key: this.number, id, name, data, gap: isGap});
    if (this.events.length > KEPT_MAX) this.events.splice(0, this.events.length - KEPT_MAX);
    if (!isGap) this.count(Math.floor(nowMs / 1000));
  }

  count(second) {
    this.perSecond.set(second, (this.perSecond.get(second) ?? 0) + 1);
    for (const each of this.perSecond.keys()) if (each < second - RATE_S) this.perSecond.delete(each);
  }

  /** Events per second over the last whole seconds. */
  rate(nowMs = Date.now()) {
    const now = Math.floor(nowMs / 1000);
    let sum = 0;
    for (const [second, count] of this.perSecond) if (second < now && second >= now - RATE_S) sum += count;
    return sum / RATE_S;
  }

  /** The events that fit, newest first, at most a number of them; gaps stand where they are. */
  shown(filter, max) {
    const found = [];
    for (let at = this.events.length - 1; at >= 0 && found.length < max; at -= 1) {
      const event = this.events[at];
      if (event.gap ? !found.at(-1)?.gap : fits(event, filter)) found.push(event);
    }
    return found;
  }

  /** The events that fit, oldest first, as lines of JSON. */
  lines(filter) {
    const kept = this.events.filter((event) => event.gap || fits(event, filter));
    return kept.map(({id, name, data}) => `${JSON.stringify({id, event: name, data})}\n`).join("");
  }

  clear() {
    this.events = [];
    this.perSecond.clear();
  }
}

/** @param {object} filter `event`, `type`, `queue`: exact, empty for any; `text`: a part of the id, group or error. */
function fits({name, data}, {event = "", type = "", queue = "", text = ""}) {
  if (event && name !== event) return false;
  if (type && data.type !== type) return false;
  if (queue && data.queue !== queue) return false;
  if (!text) return true;
  const words = [data.id, data.type, data.queue, data.schedule, data.group, data.error?.code, data.progress?.note, data.reason];
  return words.some((word) => typeof word === "string" && word.toLowerCase().includes(text.toLowerCase()));
}
