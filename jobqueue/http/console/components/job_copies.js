/** A job's submission as a text for curl, Python, JavaScript and the command line, to be copied. */

import {MOUNT} from "../data/mount.js";
import {snippetsOf, submissionOf, warningsOf} from "../data/snippets.js";
import {STRINGS} from "../strings.js";
import {html, useMemo, useState} from "../ui.js";
import {CopyButton} from "./copy_button.js";
import {Text} from "./text.js";

const T = STRINGS.job;
const SHOWN_MAX = 4000;

/** @param {object} props `job`; `args`: JSON text, `spec`, `files`; `withKey`: whether the server wants keys. */
export function JobCopies({job, args, spec, files, withKey}) {
  const usable = args !== null && args.startsWith("{");
  const submission = useMemo(() => submissionOf(job, usable ? args : "{}", spec, files), [job.id, args, spec, files]);
  const snippets = useMemo(() => snippetsOf(submission, MOUNT.href, withKey), [submission, withKey]);
  const warnings = useMemo(() => warningsOf(submission), [submission]);
  const [name, choose] = useState("curl");
  return html`<div class="stack">
    <p class="muted">${T.copiesHelp}</p>
    ${!usable && html`<p class="note">${args === null ? T.noArguments : T.argumentsHidden}</p>`}
    ${warnings.map((warning) => html`<p class="note" key=${warning}>${T.warnings[warning]}</p>`)}
    <div class="spread">
      <div class="row" role="group" aria-label=${T.tabs.copies}>
        ${Object.keys(snippets).map((each) => html`
          <button key=${each} type="button" class="button small" aria-pressed=${each === name} onClick=${() => choose(each)}>${T.copies[each]}</button>`)}
      </div>
      <${CopyButton} text=${snippets[name]} label=${T.copyAs(T.copies[name])} />
    </div>
    <pre class="card snippet" role="region" tabindex="0" aria-label=${T.copies[name]}><${Text} value=${snippets[name]} max=${SHOWN_MAX} pre /></pre>
  </div>`;
}
