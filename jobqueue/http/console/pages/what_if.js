/** The page What if: a forecast of a queue under other settings and loads, on what it did lately. */

import {ApplyDialog} from "../components/apply_dialog.js";
import {Awaited} from "../components/awaited.js";
import {Empty} from "../components/empty.js";
import {ForecastBasis} from "../components/forecast_basis.js";
import {ForecastForm} from "../components/forecast_form.js";
import {ForecastTable} from "../components/forecast_table.js";
import {LoadChart} from "../components/load_chart.js";
import {PageHead} from "../components/page_head.js";
import {Problem} from "../components/problem.js";
import {send} from "../data/api.js";
import {MEASURES, bestOf, loadText, rowsOf, sentenceOf} from "../data/forecast.js";
import {usePolled} from "../data/polling.js";
import {go} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useMemo, useRef, useState} from "../ui.js";

const S = STRINGS.whatIf;
const KINDS = ["--accent", "--good", "--warn", "--later", "--bad", "--calm"];

export const title = STRINGS.pages.what_if;

export default function WhatIf({params}) {
  const {document, problem} = usePolled("v1/queues", {everyMs: 5000});
  const names = (document?.queues ?? []).map(({name}) => name);
  const queue = params.queue ?? names[0];
  return html`
    <${PageHead} title=${title}>
      ${names.length > 0 && html`
        <label class="row">${S.queue}
          <select aria-label=${S.queue} value=${queue} onChange=${(event) => go("what_if", {queue: event.target.value})}>
            ${names.map((name) => html`<option key=${name} value=${name} selected=${name === queue}>${name}</option>`)}
          </select>
        </label>`}
    <//>
    <${Awaited} document=${document} problem=${problem} />
    <p class="muted measure">${S.intro}</p>
    ${document && !names.includes(queue) && html`<${Empty}>${names.length ? S.noQueue(queue) : S.noQueues}<//>`}
    ${names.includes(queue) && html`<${Simulation} key=${queue} queue=${queue} />`}`;
}

function Simulation({queue}) {
  const session = useSession();
  const may = session.may("operate") && !session.readonly;
  const {forecast, problem, seconds, run, cancel} = useSimulation(queue);
  return html`
    <${ForecastForm} forecast=${forecast} may=${may} busy=${seconds !== null} onRun=${run} onCancel=${cancel} />
    ${!may && html`<p class="problem">${S.mayNot}</p>`}
    <div role="status" class="stack">
      ${seconds !== null && html`<p class="row"><progress max="12" value=${seconds} aria-label=${S.running(seconds)} /> ${S.running(seconds)}</p>`}
      ${seconds === null && forecast && html`<p class="visually-hidden">${S.done}</p>`}
    </div>
    <${Problem} of=${problem} />
    ${forecast && html`<${Result} queue=${queue} forecast=${forecast} may=${may} />`}`;
}

/** Ask for a forecast; `seconds` counts while it is made, and is null else. Leaving the page ends it. */
function useSimulation(queue) {
  const [forecast, setForecast] = useState(null);
  const [problem, setProblem] = useState(null);
  const [seconds, setSeconds] = useState(null);
  const asking = useRef(null);
  useEffect(() => () => asking.current?.abort(), []);
  useEffect(() => {
    if (seconds === null) return undefined;
    const timer = setTimeout(() => setSeconds((before) => (before === null ? null : before + 1)), 1000);
    return () => clearTimeout(timer);
  }, [seconds]);
  const run = async (body) => {
    const controller = (asking.current = new AbortController());
    setProblem(null);
    setSeconds(0);
    try {
      const {document} = await send("POST", `v1/queues/${encodeURIComponent(queue)}:simulate`, {body, signal: controller.signal});
      setForecast(document);
    } catch (error) {
      if (!controller.signal.aborted) setProblem(error);
    }
    if (asking.current === controller) setSeconds(null);
  };
  const cancel = () => asking.current?.abort();
  return {forecast, problem, seconds, run, cancel};
}

function Result({queue, forecast, may}) {
  const [measure, setMeasure] = useState("goodput");
  const [applied, setApplied] = useState(null);
  const rows = useMemo(() => rowsOf(forecast), [forecast]);
  const {loads, simulated, assumptions} = forecast;
  return html`
    <${ForecastBasis} forecast=${forecast} />
    <section class="card stack" aria-labelledby="would-happen">
      <div class="spread">
        <h2 id="would-happen">${S.result}</h2>
        <label class="row">${S.measure}
          <select aria-label=${S.measure} value=${measure} onChange=${(event) => setMeasure(event.target.value)}>
            ${Object.keys(MEASURES).map((each) => html`<option key=${each} value=${each} selected=${each === measure}>${S.measures[each]}</option>`)}
          </select>
        </label>
      </div>
      <ul class="stack sentences">${loads.map((load, column) => html`<li key=${load}>${sentenceOf(rows, loads, column)}</li>`)}</ul>
      ${!simulated.complete && html`<p class="muted">${S.incomplete}</p>`}
      <${ForecastTable} rows=${rows} loads=${loads} measure=${measure} onApply=${may ? setApplied : null} />
    </section>
    <section class="card"><${Goodputs} rows=${rows} loads=${loads} /></section>
    <details class="card">
      <summary>${S.assumptions}</summary>
      <ul class="dots">${assumptions.map((sentence) => html`<li key=${sentence}>${sentence}</li>`)}</ul>
    </details>
    ${applied && html`<${ApplyDialog} queue=${queue} row=${applied} onClose=${() => setApplied(null)} />`}`;
}

/** The present setting and the best ones of each load; all others would hide them. */
function Goodputs({rows, loads}) {
  const shown = useMemo(() => {
    const keys = new Set(rows.filter(({present}) => present).map(({key}) => key));
    for (const column of [...loads.keys()].reverse()) for (const key of bestOf(rows, column)) keys.add(key);
    return [...keys].slice(0, KINDS.length).map((key) => rows.find((row) => row.key === key));
  }, [rows, loads]);
  const series = shown.map(({key, name, cells}, number) => ({
    key,
    label: name,
    kind: `line${KINDS[number]}`,
    values: cells.map((cell) => cell?.goodput_per_s.mean ?? null),
  }));
  return html`<${LoadChart} title=${S.chart} loads=${loads.map(loadText)} series=${series} text=${MEASURES.goodput.text} />`;
}
