/** Tabs: one panel of several, chosen by a click or the arrow keys (WAI-ARIA's tabs pattern). */

import {html, useState} from "../ui.js";

/**
 * @param {object} props `label`: of the list; `tabs`: `[{key, title, render}]`; `active`: the key of the shown one, and
 *   `onSelect(key)`; without them the component remembers it.
 */
export function Tabs({label, tabs, active, onSelect}) {
  const [chosen, choose] = useState(tabs[0]?.key);
  const shown = tabs.find(({key}) => key === (active ?? chosen)) ?? tabs[0];
  const select = onSelect ?? choose;
  const onKeyDown = (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1, Home: -tabs.length, End: tabs.length}[event.key];
    if (!step) return;
    event.preventDefault();
    const last = tabs.length - 1;
    const at = tabs.indexOf(shown) + step;
    const to = Math.abs(step) > 1 ? Math.min(last, Math.max(0, at)) : (at + tabs.length) % tabs.length;
    select(tabs[to].key);
    event.currentTarget.children[to].focus();
  };
  return html`
    <div>
      <div class="tabs" role="tablist" aria-label=${label} onKeyDown=${onKeyDown}>
        ${tabs.map(({key, title}) => html`
          <button key=${key} role="tab" id=${`tab-${key}`} aria-controls="tab-panel" aria-selected=${key === shown.key}
            tabindex=${key === shown.key ? 0 : -1} onClick=${() => select(key)}>${title}</button>`)}
      </div>
      <div class="tab-panel" role="tabpanel" id="tab-panel" aria-labelledby=${`tab-${shown?.key}`} tabindex="0">${shown?.render()}</div>
    </div>`;
}
