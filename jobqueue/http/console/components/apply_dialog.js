/** The dialog that applies a setting of a forecast: what changes, old and new, and what can't be changed live. */

import {curlOf, get, send} from "../data/api.js";
import {LIVE, changesOf} from "../data/forecast.js";
import {untilAnswered} from "../data/repetition.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useState} from "../ui.js";
import {Dialog} from "./dialog.js";
import {Problem} from "./problem.js";
import {toast} from "./toast.js";

const S = STRINGS.whatIf;

/** @param {object} props `queue`: its name; `row`: the setting; `onClose()`. */
export function ApplyDialog({queue, row, onClose}) {
  const [now, setNow] = useState(null);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const path = `v1/queues/${encodeURIComponent(queue)}`;
  useEffect(() => {
    const stop = new AbortController();
    const read = () => get(path, {signal: stop.signal});
    const onProblem = (fault) => stop.signal.aborted || setProblem(fault);
    const onAnswer = (queueNow) => {
      setProblem(null);
      setNow(queueNow);
    };
    untilAnswered(read, {signal: stop.signal, onProblem}).then(onAnswer, onProblem);
    return () => stop.abort();
  }, [path]);
  const changes = now ? changesOf(row.settings, now, LIVE) : [];
  const apply = async () => {
    const body = Object.fromEntries(changes.map(({name, to}) => [name, to]));
    setBusy(true);
    setProblem(null);
    try {
      await send("PATCH", path, {body});
      toast({sentence: S.applied(queue, changes.map(changeText).join(", ")), curl: curlOf("PATCH", path, {body})});
      onClose();
    } catch (refused) {
      setProblem(refused);
      setBusy(false);
    }
  };
  return html`
    <${Dialog} title=${S.applyTitle(queue)} onClose=${onClose}>
      <${Problem} of=${problem} />
      ${now && html`
        <table class="table" aria-label=${S.changes}>
          <thead><tr><th scope="col">${S.setting}</th><th scope="col" class="end">${S.old}</th><th scope="col" class="end">${S.new}</th></tr></thead>
          <tbody>
            ${changes.map(({name, from, to}) => html`<tr key=${name}><th scope="row">${name}</th><td class="end">${String(from)}</td><td class="end"><b>${String(to)}</b></td></tr>`)}
          </tbody>
        </table>
        ${!changes.length && html`<p>${S.nothingToApply}</p>`}
        ${row.changes.includes("patience_s") && html`<p>${S.byFile(queue, row.settings.patience_s)}</p>`}
        <p class="muted">${S.until}</p>`}
      <div class="dialog-foot">
        <button class="button" onClick=${onClose}>${STRINGS.dialog.cancel}</button>
        <button class="button primary" disabled=${busy || !changes.length} onClick=${apply}>${S.applyIt}</button>
      </div>
    <//>`;
}

const changeText = ({name, from, to}) => `${name} ${from} → ${to}`;
