/** The dialog that pauses a queue: with a reason that all see, and an end at which it resumes by itself. */

import {curlOf, send} from "../data/api.js";
import {reloadAll} from "../data/polling.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {Dialog} from "./dialog.js";
import {Problem} from "./problem.js";
import {toast} from "./toast.js";

const S = STRINGS.queue;
const MINUTES_MAX = 43_200;
const REASON_MAX = 200;

/** @param {object} props `queue`: its document; `onClose()`: it is to be removed, done or not. */
export function PauseDialog({queue, onClose}) {
  const [reason, setReason] = useState("");
  const [minutes, setMinutes] = useState("");
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const given = minutes.trim() === "" ? null : Number(minutes.trim().replace(",", "."));
  const fault = given !== null && !(given > 0 && given <= MINUTES_MAX) ? S.pauseForWrong : null;
  const pause = async (event) => {
    event.preventDefault();
    if (fault || busy) return;
    setBusy(true);
    setProblem(null);
    const body = {...(reason.trim() && {reason: reason.trim()}), ...(given !== null && {for_s: Math.round(given * 6000) / 100})};
    const path = `v1/queues/${encodeURIComponent(queue.name)}:pause`;
    try {
      await send("POST", path, {body, reason: reason.trim()});
      toast({sentence: S.pauseDone(queue.name), curl: curlOf("POST", path, {body})});
      reloadAll("v1/");
      onClose();
    } catch (failure) {
      setProblem(failure);
      setBusy(false);
    }
  };
  return html`
    <${Dialog} title=${S.pauseTitle(queue.name)} onClose=${onClose}>
      <p>${S.pauseMeaning}</p>
      <${Problem} of=${problem} />
      <form class="stack" onSubmit=${pause} noValidate>
        <div class="field"><label for="pause-reason">${S.pauseReason}</label>
          <input id="pause-reason" type="text" maxlength=${REASON_MAX} value=${reason} onInput=${(event) => setReason(event.target.value)} autocomplete="off" /></div>
        <div class="field"><label for="pause-for">${S.pauseFor}</label>
          <input id="pause-for" type="text" inputmode="decimal" value=${minutes} onInput=${(event) => setMinutes(event.target.value)} autocomplete="off"
            aria-invalid=${fault ? "true" : undefined} aria-describedby="pause-for-hint" />
          <span id="pause-for-hint" class=${fault ? "fault" : "hint"}>${fault ?? S.pauseForHint}</span></div>
        <div class="dialog-foot">
          <button type="button" class="button" onClick=${onClose}>${STRINGS.dialog.cancel}</button>
          <button type="submit" class="button primary" disabled=${Boolean(fault) || busy}>${S.pauseVerb}</button>
        </div>
      </form>
    <//>`;
}
