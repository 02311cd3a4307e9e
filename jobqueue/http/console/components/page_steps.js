/** The way through the pages of a list: to the first, the one before, the next. */

import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {countText} from "./number.js";

const S = STRINGS.pageSteps;

/** @param {object} props `number`: of the page that is shown, from 1 on; `next`: the cursor of the next one, or null. */
export function PageSteps({number, next, onNext, onPrevious, onFirst}) {
  if (number === 1 && !next) return null;
  return html`<nav class="row pages" aria-label=${S.page(number)}>
    <button type="button" class="button" disabled=${number < 3} onClick=${onFirst}>${S.first}</button>
    <button type="button" class="button" disabled=${number < 2} onClick=${onPrevious}>${S.previous}</button>
    <span class="muted">${S.page(countText(number))}</span>
    <button type="button" class="button" disabled=${!next} onClick=${onNext}>${S.next}</button>
  </nav>`;
}
