/** Changes of a queue's settings at once, with their estimated effect before they are applied. */

import {curlOf, send} from "../data/api.js";
import {shares} from "../data/drain_estimate.js";
import {reloadAll} from "../data/polling.js";
import {href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {countText, shareText} from "./number.js";
import {Problem} from "./problem.js";
import {QueueEstimate} from "./queue_estimate.js";
import {toast} from "./toast.js";

const S = STRINGS.queue;

/** The bounds of numbers, as the server has them. */
const BOUNDS = {workers: [1, 100_000], capacity: [1, 10_000_000], weight: [1, 1000]};
const DISCIPLINES = ["fifo", "lifo", "priority", "fair", "adaptive"];
const SETTINGS = [...Object.keys(BOUNDS), "discipline"];

/** @param {object} props `queue`, `queues`: documents; `stats`: what `usePolled` returned for `v1/stats` of this queue. */
export function QueueChange({queue, queues, stats}) {
  const [entered, setEntered] = useState({});
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const {mayChange} = useSession();
  const {change, faults} = changeOf(queue, entered);
  const isChanged = Object.keys(change).length > 0;
  const allowed = mayChange("operate");
  const put = (name, value) => setEntered({...entered, [name]: value});
  const apply = async (event) => {
    event.preventDefault();
    if (!isChanged || Object.keys(faults).length || busy) return;
    setBusy(true);
    setProblem(null);
    const path = `v1/queues/${encodeURIComponent(queue.name)}`;
    try {
      await send("PATCH", path, {body: change});
      const what = Object.entries(change).map(([name, value]) => S.becomes(name, queue[name], value)).join(", ");
      toast({sentence: S.changed(queue.name, what), curl: curlOf("PATCH", path, {body: change})});
      setEntered({});
      reloadAll("v1/");
    } catch (fault) {
      setProblem(fault);
    } finally {
      setBusy(false);
    }
  };
  return html`
    <section class="card stack">
      <div class="spread"><h2>${S.change}</h2><span class="muted">${S.changeHint}</span></div>
      <form class="stack" onSubmit=${apply} noValidate>
        <div class="change-fields">
          ${Object.entries(BOUNDS).map(([name, [low, high]]) => html`
            <${NumberSetting} key=${name} ...${{name, low, high, fault: faults[name], disabled: !allowed}} value=${entered[name] ?? String(queue[name])}
              onChange=${(value) => put(name, value)} />`)}
          <div class="field">
            <label for="change-discipline">${S.discipline}</label>
            <select id="change-discipline" value=${entered.discipline ?? queue.discipline} disabled=${!allowed} onChange=${(event) => put("discipline", event.target.value)}>
              ${DISCIPLINES.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
            </select>
            <span class="hint">${S.disciplines[entered.discipline ?? queue.discipline] ?? S.disciplineHint}</span>
          </div>
        </div>
        <${QueueEstimate} queue=${queue} stats=${stats} change=${change} />
        <${Notes} ...${{queue, queues, change}} />
        <${Problem} of=${problem} />
        ${allowed
          ? html`<div class="row">
              <button type="submit" class="button primary" disabled=${!isChanged || Object.keys(faults).length > 0 || busy}>${S.apply}</button>
              <button type="button" class="button" disabled=${!Object.keys(entered).length} onClick=${() => setEntered({})}>${S.undo}</button>
              <a href=${href("what_if", {queue: queue.name})}>${S.simulate}</a>
            </div>`
          : html`<p class="muted">${S.mayNot}</p>`}
      </form>
    </section>`;
}

/** What was entered, as a change: only what differs; and what is out of range. */
function changeOf(queue, entered) {
  const change = {};
  const faults = {};
  for (const name of SETTINGS) {
    const text = entered[name];
    if (text === undefined || text === String(queue[name])) continue;
    const [low, high] = BOUNDS[name] ?? [];
    if (low === undefined) change[name] = text;
    else if (/^\d{1,9}$/.test(text.trim()) && Number(text) >= low && Number(text) <= high) change[name] = Number(text);
    else faults[name] = S.outOfRange(countText(low), countText(high));
  }
  return {change, faults};
}

function NumberSetting({name, low, high, value, fault, disabled, onChange}) {
  const id = `change-${name}`;
  return html`
    <div class="field">
      <label for=${id}>${S[name]}</label>
      <input id=${id} type="text" inputmode="numeric" value=${value} disabled=${disabled} aria-invalid=${fault ? "true" : undefined} aria-describedby=${`${id}-hint`}
        onInput=${(event) => onChange(event.target.value)} autocomplete="off" />
      <input type="range" aria-label=${S[name]} disabled=${disabled} min="0" max="100" step="1" value=${String(placeOf(value, low, high))}
        onInput=${(event) => onChange(String(valueAt(Number(event.target.value), low, high)))} />
      <span class=${fault ? "fault" : "hint"} id=${`${id}-hint`}>${fault ?? S[`${name}Hint`]}</span>
    </div>`;
}

/** The place of a value on a slider from 0 to 100: even steps are even factors, since the ranges are wide. */
function placeOf(value, low, high) {
  const number = Math.min(high, Math.max(low, Number(value) || low));
  return Math.round((100 * Math.log(number / low)) / Math.log(high / low));
}

/** The value at a place, with two figures: 37 rather than 36.7. */
function valueAt(place, low, high) {
  const exact = low * (high / low) ** (place / 100);
  return Math.min(high, Math.max(low, Math.round(Number(exact.toPrecision(2)))));
}

function Notes({queue, queues, change}) {
  const notes = [];
  if (change.weight !== undefined) {
    const {rivals, now, then} = shares(queues, queue.name, change.weight);
    notes.push(rivals ? S.share(shareText(now), shareText(then), rivals) : S.noShare);
  }
  if (change.discipline !== undefined) notes.push(S.reordered(countText(queue.queued)));
  return notes.map((note) => html`<p class="note calm" key=${note}>${note}</p>`);
}
