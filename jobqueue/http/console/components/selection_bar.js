/** The bar above a list of jobs: how many are selected, and what can be done with them. */

import {ACTIONS} from "../data/bulk.js";
import {bulkOf} from "../data/filter.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Text} from "./text.js";

const T = STRINGS.jobs;

/**
 * @param {object} props
 *   `count`: jobs selected one by one; `all`: all that match are. `counted`: how many match. `filter`: the parsed one.
 *   `mayChange`: whether the session may change jobs. `onAll()`, `onClear()`, `onAction(action)`.
 */
export function SelectionBar({count, all, counted, filter, mayChange, onAll, onClear, onAction}) {
  if (!count && !all) return null;
  const {fault} = bulkOf(filter, Date.now());
  const total = counted.total === null ? "" : T.total(counted.total, counted.complete);
  const blocked = (action) => (!mayChange ? T.noScope : all ? fault : null);
  return html`<div class="selection card row" role="region" aria-label=${T.bar}>
    <strong role="status">${all ? T.allSelected(total) : T.selected(count)}</strong>
    ${!all && fault === null && counted.total > count && html`<button type="button" class="button small" onClick=${onAll}>${T.selectAll(total)}</button>`}
    <button type="button" class="button small bare" onClick=${onClear}>${T.unselect}</button>
    <span class="row selection-actions">
      ${Object.keys(ACTIONS).map((action) => html`<button key=${action} type="button" class=${`button small ${ACTIONS[action].destroys ? "danger" : ""}`}
        disabled=${blocked(action) !== null} title=${blocked(action)} onClick=${() => onAction(action)}>${STRINGS.job.actions[action]}</button>`)}
    </span>
    ${!all && fault !== null && html`<p class="muted"><${Text} value=${filter.terms.length ? fault : T.noCondition} max=${300} /></p>`}
    ${!mayChange && html`<p class="muted">${T.noScope}</p>`}
  </div>`;
}
