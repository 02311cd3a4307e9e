/**
 * The page Sign in: a key is exchanged for the session's cookie.
 *
 * Rules:
 *
 * 1. A key is sent once for each press of the button, and forgotten by the page as soon as it is answered. A wrong one
 *    is one sentence; nothing asks again by itself.
 * 2. What has not the form of a key is not sent: it may be a password that belongs elsewhere.
 * 3. The field is none of a password, and has no name, so that no browser offers to fill or to save it.
 */

import {CopyButton} from "../components/copy_button.js";
import {PageHead} from "../components/page_head.js";
import {send} from "../data/api.js";
import {OWN_FOLDER} from "../data/mount.js";
import {loadSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useRef, useState} from "../ui.js";

export const title = STRINGS.pages.sign_in;

const S = STRINGS.signIn;
const KEY = /^jq_[a-z2-7]{8}_[a-z2-7]{52}$/;

export default function Page() {
  const [key, setKey] = useState("");
  const [fault, setFault] = useState(null);
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const field = useRef(null);
  useEffect(() => field.current?.focus(), []);
  useEffect(() => {
    if (fault) field.current?.select();
  }, [fault]);

  async function signIn(event) {
    event.preventDefault();
    if (busy) return;
    setFault(null);
    const given = key.trim();
    if (!KEY.test(given)) {
      setFault(S.malformed);
      return;
    }
    setBusy(true);
    const told = await exchange(given);
    setBusy(false);
    setFault(told);
    if (told === null) setKey("");
  }

  return html`
    <${PageHead} title=${title} />
    <form class="sign-in" onSubmit=${signIn} autocomplete="off">
      <p>${S.lead}</p>
      ${!window.isSecureContext && html`<p class="sign-in-insecure">${S.insecure}</p>`}
      <div class="field">
        <label for="key">${S.key}</label>
        <div class="row sign-in-row">
          <input
            id="key" ref=${field} type="text" class=${shown ? "key-field" : "key-field masked"} value=${key}
            autocomplete="off" autocapitalize="off" autocorrect="off" spellcheck="false" data-1p-ignore data-lpignore="true"
            aria-describedby=${fault ? "key-fault" : "key-hint"} aria-invalid=${fault ? "true" : null}
            onInput=${(event) => setKey(event.target.value)} />
          <button class="button" type="button" aria-pressed=${shown} onClick=${() => setShown(!shown)}>${shown ? S.hide : S.show}</button>
        </div>
        <p class="fault" id="key-fault" role="alert">${fault}</p>
        <p class="hint" id="key-hint">${S.hint}</p>
      </div>
      <button class="button primary" type="submit" aria-disabled=${busy ? "true" : null}>${busy ? S.submitting : S.submit}</button>
      <p class="muted">${S.make}</p>
      <p class="row"><code>${S.command}</code><${CopyButton} text=${S.command} /></p>
    </form>`;
}

/** Exchange a key for a session; return why it failed, as a sentence, or null. */
async function exchange(key) {
  try {
    await send("POST", `${OWN_FOLDER}session`, {headers: {Authorization: `Bearer ${key}`}});
  } catch (problem) {
    if (problem.status === 401) return S.wrong;
    if (problem.status === 403 && problem.slug === "insufficient-scope") return S.noScope;
    return problem.detail ?? problem.title ?? String(problem);
  }
  await loadSession();
  return null;
}
