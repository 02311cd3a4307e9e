/** The commands of the server: read the settings again, change the level of the log, drain and stop. */

import {curlOf, send} from "../data/api.js";
import {reloadAll} from "../data/polling.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {DrainDialog} from "./drain_dialog.js";
import {Problem} from "./problem.js";
import {Text} from "./text.js";
import {toast} from "./toast.js";

const S = STRINGS.server.commands;
const LEVELS = ["debug", "info", "warning", "error"];
const FAULTS_MAX = 32;

/** @param {object} props `server`: the document of `v1/server`; `onChanged()`. */
export function ServerCommands({server, onChanged}) {
  const {mayChange} = useSession();
  const [result, setResult] = useState(null);
  const [drains, setDrains] = useState(false);
  const [busy, setBusy] = useState(false);
  if (!server.process) return html`<p class="muted">${S.mounted}</p>`;
  const allowed = mayChange("admin") && !busy;
  const act = async (what) => {
    setBusy(true);
    try {
      await what();
    } finally {
      setBusy(false);
      reloadAll("v1/server");
      onChanged();
    }
  };
  const reload = () => act(async () => setResult(await reloaded()));
  const setLevel = (event) => act(() => leveled(event.target.value));
  return html`
    <section class="card stack" aria-labelledby="commands">
      <div class="spread">
        <h2 id="commands">${S.title}</h2>
        ${!mayChange("admin") && html`<span class="muted">${S.readonly}</span>`}
      </div>
      <div class="row">
        <button class="button" disabled=${!allowed || server.draining} onClick=${reload}>${S.reload}</button>
        <label class="row">${S.level}
          <select value=${server.process.log_level} disabled=${!allowed} onChange=${setLevel}>
            ${LEVELS.map((level) => html`<option key=${level} value=${level} selected=${level === server.process.log_level}>${level}</option>`)}
          </select>
        </label>
        <button class="button danger" disabled=${!allowed || server.draining} onClick=${() => setDrains(true)}>${S.drain}</button>
      </div>
      <div aria-live="polite">${result && html`<${Reloaded} result=${result} onClose=${() => setResult(null)} />`}</div>
      ${drains && html`<${DrainDialog} server=${server} onClose=${() => setDrains(false)} onDone=${onChanged} />`}
    </section>`;
}

/** Read the settings again; return what changed, or the problem with its faults. */
async function reloaded() {
  const path = "v1/server:reload";
  try {
    const {document} = await send("POST", path);
    toast({sentence: S.reloaded(document.changed.length, document.restart_required.length), curl: curlOf("POST", path)});
    return {changed: document.changed, restart: document.restart_required};
  } catch (problem) {
    return {problem};
  }
}

async function leveled(level) {
  const body = {log_level: level};
  try {
    await send("PATCH", "v1/server", {body});
    toast({sentence: S.leveled(level), curl: curlOf("PATCH", "v1/server", {body})});
  } catch (problem) {
    toast({sentence: problem.message, kind: "bad"});
  }
}

/** What a reload has changed, what waits for a restart; or each fault with file, line and column. */
function Reloaded({result, onClose}) {
  const {problem, changed = [], restart = []} = result;
  const faults = problem?.document?.faults ?? [];
  return html`
    <div class="stack reload-result">
      ${problem && faults.length === 0 && html`<${Problem} of=${problem} />`}
      ${faults.length > 0 && html`
        <div class="problem" role="alert">
          <p><strong>${S.faults(faults.length)}</strong> ${S.unchanged}</p>
          <ul class="faults">${faults.slice(0, FAULTS_MAX).map((fault) => html`<li key=${fault}><code><${Text} value=${fault} max=${500} /></code></li>`)}</ul>
        </div>`}
      ${!problem && html`<p>${changed.length || restart.length ? "" : S.nothing}</p>`}
      ${changed.length > 0 && html`<${Names} title=${S.changed} names=${changed} />`}
      ${restart.length > 0 && html`<${Names} title=${S.restart} names=${restart} />`}
      <p><button class="button small" onClick=${onClose}>${STRINGS.dialog.close}</button></p>
    </div>`;
}

function Names({title, names}) {
  return html`<div><h3>${title}</h3><ul class="names">${names.map((name) => html`<li key=${name}><code><${Text} value=${name} /></code></li>`)}</ul></div>`;
}
