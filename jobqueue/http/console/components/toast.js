/** Toasts: the result of an action as a sentence, with its request as a curl command; read out by screen readers. */

import {createStore, useStore} from "../data/store.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {CopyButton} from "./copy_button.js";
import {Text} from "./text.js";

const SHOWN_MAX = 4;
const SHOWN_MS = 20_000;

const toasts = createStore([]);
let count = 0;

/**
 * Show a result. Good ones leave after 20 s, bad ones stay until they are closed.
 *
 * @param {{sentence: string, curl?: string, kind?: "good"|"bad"}} result
 */
export function toast({sentence, curl = null, kind = "good"}) {
  count += 1;
  const shown = {key: count, sentence, curl, kind};
  toasts.set([...toasts.get(), shown].slice(-SHOWN_MAX));
  if (kind !== "bad") setTimeout(() => close(shown.key), SHOWN_MS);
}

function close(key) {
  toasts.set(toasts.get().filter((each) => each.key !== key));
}

export function Toasts() {
  const shown = useStore(toasts);
  return html`
    <div class="toasts" role="status" aria-live="polite">
      ${shown.map(({key, sentence, curl, kind}) => html`
        <div class="toast ${kind}" key=${key}>
          <span><span aria-hidden="true">${kind === "bad" ? "✕" : "✓"}</span> <${Text} value=${sentence} max=${400} /></span>
          <span class="row">
            ${curl && html`<${CopyButton} text=${curl} label=${STRINGS.copy.curl} />`}
            <button class="button small bare" aria-label=${STRINGS.dialog.close} onClick=${() => close(key)}>✕</button>
          </span>
        </div>`)}
    </div>`;
}
