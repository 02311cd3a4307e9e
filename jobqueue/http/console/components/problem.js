/** A problem, as the server tells it: its title, what was wrong, and when to come back. */

import {MOUNT} from "../data/mount.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {durationText} from "./duration.js";
import {Text} from "./text.js";

/** @param {object} props `of`: a Problem, or anything with `title` and `detail`; null draws nothing. */
export function Problem({of}) {
  if (!of) return null;
  const title = of.title ?? String(of);
  const link = of.slug && of.status > 0 ? new URL(`problems/${encodeURIComponent(of.slug)}`, MOUNT).href : null;
  return html`
    <div class="problem" role="alert">
      <p><strong>${title}</strong>${of.status > 0 && html` <span class="muted">(${of.status})</span>`}</p>
      ${of.detail && html`<p><${Text} value=${of.detail} max=${600} /></p>`}
      ${of.errors?.length > 0 && html`
        <ul>${of.errors.slice(0, 20).map(({pointer, detail}) => html`<li><code><${Text} value=${pointer} /></code> <${Text} value=${detail} /></li>`)}</ul>`}
      ${of.retryAfterS > 0 && html`<p class="muted">${STRINGS.problem.again(durationText(of.retryAfterS))}</p>`}
      ${link && html`<p><a href=${link} target="_blank" rel="noreferrer">${STRINGS.problem.explained}</a></p>`}
    </div>`;
}
