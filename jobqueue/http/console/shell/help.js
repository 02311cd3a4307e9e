/** Help: the keys that work now, in a dialog. */

import {Dialog} from "../components/dialog.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {useKeyGroups} from "./keys.js";

const NAMES = {" ": "Space", ArrowUp: "↑", ArrowDown: "↓", Delete: "Del"};

export function Help({onClose}) {
  const groups = useKeyGroups();
  return html`
    <${Dialog} title=${STRINGS.shell.keys} onClose=${onClose}>
      ${groups.map(({label, keys}) => html`
        <section class="keys">
          <h3>${label}</h3>
          <dl class="facts">
            ${Object.entries(keys).map(([key, {label: does}]) => html`
              <dt>${key.split(" ").map((each) => html`<kbd>${NAMES[each] ?? each}</kbd> `)}</dt><dd>${does}</dd>`)}
          </dl>
        </section>`)}
    <//>`;
}
