/** The head of a page: its heading, which gets the focus when the page is shown, and what stands beside it. */

import {html} from "../ui.js";

export function PageHead({title, children}) {
  return html`<div class="page-head"><h1 tabindex="-1">${title}</h1><div class="row">${children}</div></div>`;
}
