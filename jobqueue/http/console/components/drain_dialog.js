/** The dialog before a drain: what is live, how long it may take, and a word to be typed. */

import {curlOf, send} from "../data/api.js";
import {usePolled} from "../data/polling.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {Dialog} from "./dialog.js";
import {Problem} from "./problem.js";
import {toast} from "./toast.js";
import {durationText} from "./duration.js";

const S = STRINGS.server.drain;
const PATH = "v1/server:drain";

/** @param {object} props `server`: the document of `v1/server`; `onClose()`; `onDone()`. */
export function DrainDialog({server, onClose, onDone}) {
  const [typed, setTyped] = useState("");
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState(null);
  const times = useTimes();
  const drain = async (event) => {
    event.preventDefault();
    if (typed !== S.word) return;
    try {
      const {document} = await send("POST", PATH, {reason: reason.trim() || undefined});
      toast({sentence: S.begun(document.live, durationText(document.drain_s)), curl: curlOf("POST", PATH)});
      onClose();
      onDone();
    } catch (raised) {
      setProblem(raised);
    }
  };
  return html`
    <${Dialog} title=${S.title} onClose=${onClose}>
      <form class="stack" onSubmit=${drain}>
        <p>${S.what(server.jobs_live)}</p>
        <ul class="bullets">
          <li>${S.works(times.drain)}</li>
          <li>${S.lingers(times.linger)}</li>
          <li>${server.journal ? S.kept : S.lost}</li>
        </ul>
        <${Problem} of=${problem} />
        <div class="field">
          <label for="drain-reason">${S.reason}</label>
          <input id="drain-reason" value=${reason} maxlength="200" onInput=${(event) => setReason(event.target.value)} />
        </div>
        <div class="field">
          <label for="drain-word">${S.type(S.word)}</label>
          <input id="drain-word" value=${typed} autocomplete="off" autocapitalize="off" spellcheck=${false} onInput=${(event) => setTyped(event.target.value)} />
        </div>
        <div class="dialog-foot">
          <button type="button" class="button" onClick=${onClose}>${STRINGS.dialog.cancel}</button>
          <button class="button danger primary" disabled=${typed !== S.word}>${S.title}</button>
        </div>
      </form>
    <//>`;
}

/** Return the settings of the drain, as they are written. */
function useTimes() {
  const {document} = usePolled("v1/server/settings", {everyMs: Infinity});
  const valueOf = (path) => document?.settings.find((setting) => setting.path === path)?.value ?? null;
  return {drain: valueOf("server.drain_s"), linger: valueOf("server.linger_s")};
}
