/** The form of a simulation: what is measured, what is assumed instead, and settings to compare. */

import {nameOf} from "../data/forecast.js";
import {useKeys} from "../shell/keys.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

const S = STRINGS.whatIf;
const DISCIPLINES = ["fifo", "lifo", "priority", "fair", "adaptive"];
const NUMBERS = {arrivals_per_s: S.arrivals, run_s: S.run, patience_s: S.patience};
const ALTERNATIVES_MAX = 24;

/** @param {object} props `forecast`: the last one, whose settings are compared again; `may`, `busy`; `onRun(body)`, `onCancel()`. */
export function ForecastForm({forecast, may, busy, onRun, onCancel}) {
  const [given, setGiven] = useState({window_s: "300", returns: "obedient", arrivals_per_s: "", run_s: "", patience_s: ""});
  const [own, setOwn] = useState([]);
  const change = (name) => (event) => setGiven({...given, [name]: event.target.value});
  const run = () => onRun(bodyOf(given, own, forecast));
  const submit = (event) => {
    event.preventDefault();
    if (busy) onCancel();
    else if (may) run();
  };
  useKeys({r: {label: S.runKey, run: () => (busy ? onCancel() : may && run())}}, {label: STRINGS.pages.what_if});
  return html`
    <form class="card stack" aria-label=${S.ask} onSubmit=${submit}>
      <div class="fields">
        <label class="field-box">${S.window}
          <select value=${given.window_s} onChange=${change("window_s")}>
            ${Object.entries(S.windows).map(([value, text]) => html`<option key=${value} value=${value} selected=${value === given.window_s}>${text}</option>`)}
          </select>
        </label>
        <label class="field-box">${S.returns}
          <select value=${given.returns} onChange=${change("returns")}>
            ${Object.entries(S.returnKinds).map(([value, text]) => html`<option key=${value} value=${value} selected=${value === given.returns}>${text}</option>`)}
          </select>
        </label>
        <button class="button primary" type="submit" disabled=${!may}>${busy ? S.cancel : S.simulate}</button>
      </div>
      <details>
        <summary>${S.instead}</summary>
        <div class="fields">
          ${Object.entries(NUMBERS).map(([name, label]) => html`
            <label class="field-box" key=${name}>${label}
              <input type="number" min="0.0001" step="any" value=${given[name]} onInput=${change(name)} />
            </label>`)}
        </div>
      </details>
      <${Own} own=${own} onChange=${setOwn} />
    </form>`;
}

function Own({own, onChange}) {
  const [setting, setSetting] = useState({discipline: "", capacity: "", workers: ""});
  const change = (name) => (event) => setSetting({...setting, [name]: event.target.value});
  const add = () => onChange([...own, settingOf(setting)]);
  const isEmpty = !Object.values(setting).some(Boolean);
  return html`
    <details>
      <summary>${S.own}</summary>
      <div class="fields">
        <label class="field-box">${S.discipline}
          <select value=${setting.discipline} onChange=${change("discipline")}>
            <option value="">${S.asNow}</option>
            ${DISCIPLINES.map((each) => html`<option key=${each} value=${each} selected=${each === setting.discipline}>${each}</option>`)}
          </select>
        </label>
        <label class="field-box">${S.capacity}
          <input type="number" min="1" max="10000000" placeholder=${S.asNow} value=${setting.capacity} onInput=${change("capacity")} />
        </label>
        <label class="field-box">${S.workerCount}
          <input type="number" min="1" max="100000" placeholder=${S.asNow} value=${setting.workers} onInput=${change("workers")} />
        </label>
        <button class="button" type="button" disabled=${isEmpty || own.length >= ALTERNATIVES_MAX} onClick=${add}>${S.compare}</button>
      </div>
      ${own.length > 0 && html`
        <p>${S.compared}</p>
        <ul class="row wrap">
          ${own.map((each, number) => {
            const name = Object.entries(each).map(([key, value]) => `${key} ${value}`).join(", ");
            return html`
              <li key=${number} class="badge accent">${name}
                <button class="button small bare" type="button" aria-label=${S.remove(name)} onClick=${() => onChange(own.filter((_, other) => other !== number))}>✕</button>
              </li>`;
          })}
        </ul>`}
    </details>`;
}

/** A setting of the form, without what stays as it is. */
function settingOf({discipline, capacity, workers}) {
  return {
    ...(discipline && {discipline}),
    ...(capacity && {capacity: Number(capacity)}),
    ...(workers && {workers: Number(workers)}),
  };
}

/** Return the body of the request: the settings of the last forecast are compared again beside one's own. */
export function bodyOf(given, own, forecast) {
  const body = {window_s: Number(given.window_s), returns: given.returns};
  for (const name of Object.keys(NUMBERS)) if (given[name] !== "") body[name] = Number(given[name]);
  if (own.length) {
    const before = (forecast?.alternatives ?? []).filter(({changes}) => changes.length);
    const known = new Map(before.map((each) => [nameOf(each), Object.fromEntries(each.changes.map((name) => [name, each.settings[name]]))]));
    const all = [...own, ...known.values()].map((each) => [JSON.stringify(Object.entries(each).sort()), each]);
    body.alternatives = [...new Map(all).values()].slice(0, ALTERNATIVES_MAX);
  }
  return body;
}
