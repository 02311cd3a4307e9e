/** What is wrong now: the findings of the server, the worst first, read out when their number changes. */

import {usePolled} from "../data/polling.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Awaited} from "./awaited.js";
import {Finding} from "./finding.js";

const S = STRINGS.finding;
const EVERY_MS = 3000;
const ORDER = ["critical", "warning", "info"];
const SHOWN_MAX = 30;

export function Findings() {
  const {document, problem} = usePolled("v1/findings", {everyMs: EVERY_MS});
  const findings = [...(document?.findings ?? [])].sort((one, other) => ORDER.indexOf(one.severity) - ORDER.indexOf(other.severity));
  return html`
    <section class="card stack" aria-labelledby="findings">
      <div class="spread">
        <h2 id="findings">${S.title}</h2>
        <span role="status" class="muted">${document && (findings.length ? S.count(findings.length) : "")}</span>
      </div>
      <${Awaited} document=${document} problem=${problem} />
      ${document && findings.length === 0 && html`<p class="all-well"><span aria-hidden="true">✓</span> ${S.none}</p>`}
      ${findings.length > 0 && html`
        <ul class="findings">${findings.slice(0, SHOWN_MAX).map((finding) => html`<${Finding} key=${`${finding.kind} ${finding.problem} ${JSON.stringify(finding.subject)}`} finding=${finding} />`)}</ul>`}
      ${findings.length > SHOWN_MAX && html`<p class="muted">${S.more(findings.length - SHOWN_MAX)}</p>`}
    </section>`;
}
