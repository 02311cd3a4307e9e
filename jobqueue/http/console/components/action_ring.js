/** What consoles have changed of late: which key, what, how many, and why. */

import {usePolled} from "../data/polling.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Badge} from "./badge.js";
import {Instant} from "./instant.js";
import {countText} from "./number.js";
import {Problem} from "./problem.js";
import {Table} from "./table.js";
import {Text} from "./text.js";

const S = STRINGS.server.actions;
const EVERY_MS = 3000;

const COLUMNS = [
  {key: "at", title: S.at, render: ({at}) => html`<${Instant} at=${at} />`},
  {key: "caller", title: S.by, render: ({caller}) => html`<${Text} value=${caller} max=${80} />`},
  {key: "action", title: S.action, render: ({action}) => html`<${Text} value=${action} max=${80} />`},
  {key: "target", title: S.target, blank: ({target, filter}) => !target && !filter, render: ({target, filter}) => html`<${Text} value=${target ?? filter ?? ""} max=${120} />`},
  {key: "count", title: S.count, align: "end", blank: ({count}) => count === null || count === undefined, render: ({count}) => (count === null || count === undefined ? "" : countText(count))},
  {key: "status", title: S.result, render: ({status}) => html`<span><${Badge} kind=${status < 400 ? "good" : "bad"}>${status < 400 ? S.done : S.rejected(status)}<//></span>`},
  {key: "reason", title: S.reason, blank: ({reason}) => !reason, render: ({reason}) => html`<${Text} value=${reason ?? ""} max=${200} />`},
];

export function ActionRing() {
  const {document, problem} = usePolled("v1/server/actions", {everyMs: EVERY_MS});
  const actions = (document?.actions ?? []).map((action, index) => ({...action, key: `${action.at} ${index}`}));
  return html`
    <div class="stack">
      <${Problem} of=${problem} />
      <${Table} label=${S.title} columns=${COLUMNS} rows=${actions} rowKey=${({key}) => key} empty=${S.empty} />
    </div>`;
}
