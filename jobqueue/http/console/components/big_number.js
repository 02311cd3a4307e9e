/** A big number: a count now or since the start, its course over the last minute, and the jobs that it counts. */

import {html} from "../ui.js";
import {countText, shortText} from "./number.js";
import {Sparkline} from "./sparkline.js";
import {StateShape} from "./state.js";

/**
 * @param {object} props `label`; `count`; `detail`: a few words below; `values`: of the sparkline, which `course` names;
 *   `kind`: a state; `link`: to its jobs, or null.
 */
export function BigNumber({label, count, detail, values, course, kind, link}) {
  const body = html`
    <span class="row"><span class="shape ${kind}"><${StateShape} state=${kind} /></span> ${label}</span>
    <span class="value" title=${countText(count)}>${shortText(count)}</span>
    <${Sparkline} values=${values} label=${course} kind=${kind} />
    <span class="muted detail">${detail}</span>`;
  return link ? html`<a class="card big-number" href=${link}>${body}</a>` : html`<div class="card big-number">${body}</div>`;
}
