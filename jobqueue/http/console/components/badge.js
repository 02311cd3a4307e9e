/** A badge: one or two words about a thing. `kind` is good, bad, warn, accent, later or calm. */

import {html} from "../ui.js";

export function Badge({kind = "calm", title, children}) {
  return html`<span class="badge ${kind}" title=${title}>${children}</span>`;
}
