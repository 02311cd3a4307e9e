/** What waits in a queue: its queued jobs by type and by group, as far as one page of the list tells. */

import {tally} from "../data/tally.js";
import {usePolled} from "../data/polling.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {countText, shareText} from "./number.js";
import {Problem} from "./problem.js";
import {Text} from "./text.js";

const S = STRINGS.queue;
const READ_MAX = 100;
const EVERY_MS = 3000;
const SHOWN_MAX = 8;

/** @param {object} props `queue`: its document. */
export function WaitingPanel({queue}) {
  const query = {queue: queue.name, state: "queued", limit: READ_MAX};
  const {document, problem} = usePolled(queue.queued ? "v1/jobs" : null, {query, everyMs: EVERY_MS});
  const jobs = queue.queued ? (document?.jobs ?? []) : [];
  const filterBy = (member) => (value) => `queue:${quoted(queue.name)} state:queued ${member}:${quoted(value)}`;
  const groups = tally(jobs, "group");
  return html`
    <section class="card stack">
      <div class="spread"><h2>${S.queuedJobs}</h2>
        ${jobs.length > 0 && html`<span class="muted">${S.queuedHint(countText(jobs.length), countText(Math.max(jobs.length, queue.queued)))}</span>`}</div>
      <${Problem} of=${problem} />
      ${queue.queued === 0 && html`<p class="muted">${S.nothingWaits}</p>`}
      ${jobs.length > 0 && html`
        <div class="columns">
          <${Shares} title=${S.byType} shares=${tally(jobs, "type")} of=${jobs.length} filter=${filterBy("type")} />
          <${Shares} title=${S.byGroup} shares=${groups} of=${jobs.length} filter=${filterBy("group")} />
        </div>
        ${queue.discipline === "fair" && html`<p class="muted">${S.turns(groups.length)}</p>`}`}
      <p class="muted">${S.noDrain}</p>
    </section>`;
}

/** A value for the filter of the page Jobs. */
const quoted = (value) => (/^[\w.-]+$/.test(value) ? value : JSON.stringify(value));

function Shares({title, shares, of, filter}) {
  return html`
    <table class="bars" aria-label=${title}>
      <caption>${title}</caption>
      <tbody>
        ${shares.slice(0, SHOWN_MAX).map(({value, count}) => html`
          <tr key=${value}>
            <th scope="row">
              ${value === null
                ? html`<span class="muted">${S.noGroup}</span>`
                : html`<a href=${href("jobs", {}, {q: filter(value)})}><${Text} value=${value} max=${40} /></a>`}
            </th>
            <td class="track"><span class="fill" style=${{width: `${(100 * count) / of}%`}}></span></td>
            <td class="number" title=${shareText(count / of)}>${countText(count)}</td>
          </tr>`)}
      </tbody>
      ${shares.length > SHOWN_MAX && html`<tfoot><tr><td colspan="3" class="muted">${S.more(countText(shares.length - SHOWN_MAX))}</td></tr></tfoot>`}
    </table>`;
}
