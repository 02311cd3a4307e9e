/**
 * The dialog of an action on jobs: first what it would change, then the action, at last a sentence of what it did.
 *
 * For jobs by a filter (the body of `POST v1/jobs:ACTION`, without `dry_run` and `limit`) or by their ids:
 *
 *     ${asked && html`<${ActionDialog} action="retry" filter=${{type: "thumb", state: "failed"}} onDone=${close} onClose=${close} />`}
 *     ${asked && html`<${ActionDialog} action="delete" ids=${["0aB…"]} onDone=${close} onClose=${close} />`}
 *
 * For any other request that wants a confirmation:
 *
 *     html`<${ConfirmDialog} title="Drain and stop" sentence="The server stops …" verb="Drain" word="drain" danger
 *            request=${["POST", "v1/server:drain"]} doneSentence=${({live}) => `drains ${live} jobs`} onDone=${close} onClose=${close} />`
 *
 * Rules:
 *
 * 1. The number and a sample of the jobs come from the server (a dry run), before anything can be confirmed.
 * 2. From `TYPED_FROM` jobs on, their number or the action's word must be typed.
 * 3. An action on many jobs shows how far it is, and can be stopped; closing the dialog stops it, too.
 * 4. The result is a sentence with the request as curl, in a toast; `onDone` is called with it, and removes the dialog.
 */

import {ACTIONS, carryOut, dryRun} from "../data/bulk.js";
import {curlOf, send} from "../data/api.js";
import {reloadAll} from "../data/polling.js";
import {STRINGS} from "../strings.js";
import {Dialog} from "./dialog.js";
import {Problem} from "./problem.js";
import {State} from "./state.js";
import {Text} from "./text.js";
import {toast} from "./toast.js";
import {html, useEffect, useRef, useState} from "../ui.js";

export const TYPED_FROM = 100;

/**
 * The dialog of one of the actions `retry`, `cancel`, `delete` and `run` (by ids only).
 *
 * @param {object} props
 * @param {"retry"|"cancel"|"delete"|"run"} props.action
 * @param {object} [props.filter] The jobs, by a filter of the API.
 * @param {string[]} [props.ids] The jobs, by their ids.
 * @param {string[]} [props.notes] Sentences to be read before.
 * @param {function({sentence: string, count: number, stopped: boolean, curl: string}): void} props.onDone
 * @param {function(): void} props.onClose Called when it is closed without an end of the action.
 */
export function ActionDialog({action, filter, ids, notes = [], onDone, onClose}) {
  const texts = STRINGS.actions[action];
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const [done, setDone] = useState(null);
  const [reason, setReason] = useState("");
  const stop = useRef(new AbortController());
  useEffect(() => {
    const asking = new AbortController();
    dryRun(action, {ids, filter}, asking.signal).then(setFound, (fault) => asking.signal.aborted || setProblem(fault));
    return () => {
      asking.abort();
      stop.current.abort();
    };
  }, []);
  const act = async () => {
    setProblem(null);
    setDone({count: 0, skipped: {}});
    try {
      const result = await carryOut(action, {ids, filter}, found, {reason, onProgress: setDone, stop: stop.current.signal});
      finish({...result, sentence: sentenceOf(action, result)}, onDone);
    } catch (fault) {
      setDone(null);
      setProblem(fault);
    }
  };
  const close = () => (done ? stop.current.abort() : onClose());
  const title = found?.count === 1 ? texts.one : texts.many;
  return html`<${Dialog} title=${title} onClose=${close}>
    <p>${texts.meaning}</p>
    ${notes.map((note) => html`<p class="note">${note}</p>`)}
    ${problem && html`<${Problem} of=${problem} />`}
    ${!found && !problem && html`<p role="status">${STRINGS.actions.counting}</p>`}
    ${found && html`<${Sample} found=${found} texts=${texts} />`}
    ${done && html`<${Progress} done=${done} count=${found.count} action=${action} stopping=${stop.current.signal.aborted} />`}
    ${found && !done && found.count > 0 && html`<${Reason} value=${reason} onChange=${setReason} />`}
    <${Confirm}
      count=${found?.count ?? 0} word=${texts.word} verb=${found ? texts.verb(found.count) : texts.many} danger=${ACTIONS[action].destroys}
      busy=${done !== null} ready=${found !== null && found.count > 0} onConfirm=${act} onStop=${() => stop.current.abort()} onClose=${onClose} />
  </${Dialog}>`;
}

/**
 * The dialog of one request.
 *
 * @param {object} props
 * @param {string} props.title
 * @param {string} props.sentence What it does, and what can't be taken back.
 * @param {string} props.verb The text of its button.
 * @param {string} [props.word] What must be typed, if anything.
 * @param {boolean} [props.danger]
 * @param {[string, string, object?]} props.request Method, path, body.
 * @param {function(object): string} props.doneSentence Makes the result's sentence from the answer's document.
 * @param {function({sentence: string, curl: string, document: object}): void} props.onDone
 * @param {function(): void} props.onClose
 */
export function ConfirmDialog({title, sentence, verb, word, danger, request, doneSentence, onDone, onClose}) {
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const [reason, setReason] = useState("");
  const [method, path, body] = request;
  const act = async () => {
    setBusy(true);
    setProblem(null);
    try {
      const {document} = await send(method, path, {body, reason});
      finish({sentence: doneSentence(document), curl: curlOf(method, path, {body}), document}, onDone);
    } catch (fault) {
      setProblem(fault);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <p>${sentence}</p>
    ${problem && html`<${Problem} of=${problem} />`}
    <${Reason} value=${reason} onChange=${setReason} />
    <${Confirm} count=${0} word=${word} typed=${Boolean(word)} verb=${verb} danger=${danger} busy=${busy} ready onConfirm=${act} onClose=${onClose} />
  </${Dialog}>`;
}

/** Change one job without a dialog, and tell what came of it. @returns {Promise<boolean>} Whether it was changed. */
export async function actOnJob(action, id) {
  const [method, path] = ACTIONS[action].request(id);
  const curl = curlOf(method, path);
  try {
    const {status, document} = await send(method, path);
    const stopping = action === "cancel" && status === 202 && document?.state === "running";
    finish({sentence: stopping ? STRINGS.actions.cancel.stopping : sentenceOf(action, {count: 1, skipped: {}}), curl}, () => undefined);
    return true;
  } catch (problem) {
    toast({sentence: STRINGS.actions.failed(STRINGS.actions[action].word, problem.detail ?? problem.title), curl, kind: "bad"});
    return false;
  }
}

function finish(result, onDone) {
  toast({sentence: result.sentence, curl: result.curl, kind: result.stopped || result.count === 0 ? "warn" : "good"});
  reloadAll("v1/");
  onDone(result);
}

/** Return what an action did, as a sentence: "12 queued again, 3 skipped: queue full". */
function sentenceOf(action, {count, skipped, stopped}) {
  const parts = [STRINGS.actions[action].done(count)];
  for (const [why, number] of Object.entries(skipped)) parts.push(STRINGS.actions.skipped(number, why.replaceAll("-", " ")));
  return parts.join(", ") + (stopped ? STRINGS.actions.stopped : "");
}

function Sample({found, texts}) {
  const {count, sample, others, unsearched} = found;
  return html`<div class="stack tight">
    <p role="status"><strong>${count ? texts.found(count) : STRINGS.actions.none}</strong>
      ${others > 0 && html` ${STRINGS.actions.others(others, texts.applies)}`}
      ${unsearched > 0 && html` ${STRINGS.actions.unsearched(unsearched)}`}</p>
    ${sample.length > 0 && html`<ul class="sample" aria-label=${STRINGS.actions.sample}>
      ${sample.slice(0, 8).map((job) => html`<li key=${job.id}><code>${job.id}</code>
        ${job.type && html` <${Text} value=${job.type} max=${60} />`} ${job.state && html`<${State} state=${job.state} />`}</li>`)}
      ${count > Math.min(8, sample.length) && html`<li class="muted">${STRINGS.actions.more(count - Math.min(8, sample.length))}</li>`}
    </ul>`}
  </div>`;
}

function Progress({done, count, action, stopping}) {
  const all = done.count + Object.values(done.skipped).reduce((sum, each) => sum + each, 0);
  return html`<div class="stack tight" role="status" aria-live="polite">
    <progress max=${Math.max(count, 1)} value=${Math.min(all, count)} aria-label=${STRINGS.actions.progress}></progress>
    <p>${stopping ? STRINGS.actions.stopping : sentenceOf(action, done)}</p>
  </div>`;
}

function Reason({value, onChange}) {
  return html`<label class="field"><span class="label">${STRINGS.actions.reason}</span>
    <input type="text" maxlength="200" value=${value} onInput=${(event) => onChange(event.target.value)} autocomplete="off" /></label>`;
}

function Confirm({count, word, typed: always, verb, danger, busy, ready, onConfirm, onStop, onClose}) {
  const [typed, setTyped] = useState("");
  const mustType = always || count >= TYPED_FROM;
  const right = !mustType || typed.trim().toLowerCase() === word || (count > 0 && typed.replace(/[\s,.']/g, "") === String(count));
  const confirm = (event) => {
    event.preventDefault();
    if (ready && right && !busy) onConfirm();
  };
  return html`<form class="stack" onSubmit=${confirm}>
    ${ready && mustType && !busy && html`<label class="field">
      <span class="label">${always ? STRINGS.actions.typeWord(word) : STRINGS.actions.type(count, word)}</span>
      <input type="text" value=${typed} onInput=${(event) => setTyped(event.target.value)} autocomplete="off" spellcheck="false" autofocus /></label>`}
    <div class="dialog-foot">
      ${busy && onStop
        ? html`<button type="button" class="button" onClick=${onStop}>${STRINGS.actions.stop}</button>`
        : html`<button type="button" class="button" onClick=${onClose}>${STRINGS.actions.close}</button>`}
      <button type="submit" class=${`button primary ${danger ? "danger" : ""}`} disabled=${!ready || !right || busy}>${verb}</button>
    </div>
  </form>`;
}
