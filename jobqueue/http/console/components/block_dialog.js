/** The dialog that blocks a caller for some minutes: every request of it is rejected meanwhile. */

import {Dialog} from "./dialog.js";
import {durationText} from "./duration.js";
import {Problem} from "./problem.js";
import {visibleText} from "./text.js";
import {toast} from "./toast.js";
import {curlOf, send} from "../data/api.js";
import {reloadAll} from "../data/polling.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

const S = STRINGS.callers;
const MINUTES = 10;
const MINUTES_MAX = 7 * 24 * 60;

/** @param {object} props `caller`: its document; `onClose()`. */
export function BlockDialog({caller, onClose}) {
  const [minutes, setMinutes] = useState(String(MINUTES));
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const number = Number(minutes);
  const isRight = minutes.trim() !== "" && number > 0 && number <= MINUTES_MAX;
  const shown = visibleText(caller.name, 80);
  const block = async (event) => {
    event.preventDefault();
    if (!isRight || busy) return;
    const path = `v1/callers/${encodeURIComponent(caller.name)}:block`;
    const body = {for_s: Math.max(1, number * 60)};
    setBusy(true);
    setProblem(null);
    try {
      await send("POST", path, {body, reason});
      toast({sentence: S.isBlocked(shown, durationText(body.for_s)), curl: curlOf("POST", path, {body})});
      reloadAll("v1/callers");
      onClose();
    } catch (fault) {
      setProblem(fault);
      setBusy(false);
    }
  };
  return html`
    <${Dialog} title=${S.blockOne(shown)} onClose=${onClose}>
      <p>${S.meaning}</p>
      <${Problem} of=${problem} />
      <form class="stack" onSubmit=${block}>
        <label class="field"><span class="label">${S.minutes}</span>
          <input type="number" min="1" max=${MINUTES_MAX} step="any" required value=${minutes} onInput=${(event) => setMinutes(event.target.value)} autofocus /></label>
        <label class="field"><span class="label">${S.reason}</span>
          <input type="text" maxlength="200" value=${reason} onInput=${(event) => setReason(event.target.value)} autocomplete="off" /></label>
        <div class="dialog-foot">
          <button type="button" class="button" onClick=${onClose}>${S.cancel}</button>
          <button type="submit" class="button primary danger" disabled=${!isRight || busy}>${S.block}</button>
        </div>
      </form>
    <//>`;
}
