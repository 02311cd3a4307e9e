/** An empty place: says what would stand there, and how it comes there. */

import {html} from "../ui.js";

export function Empty({children}) {
  return html`<div class="empty">${children}</div>`;
}
