/** The settings of a queue: where each comes from, and what a restart would undo. For the scope admin; values for all. */

import {usePolled} from "../data/polling.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Badge} from "./badge.js";
import {Problem} from "./problem.js";
import {Table} from "./table.js";
import {Text} from "./text.js";

const S = STRINGS.queue;
const EVERY_MS = 10_000;
const OPEN = ["workers", "capacity", "discipline", "weight"];

const COLUMNS = [
  {key: "name", title: S.setting, render: (each) => html`<code>${each.name}</code>`},
  {key: "value", title: S.value, render: (each) => html`<${Text} value=${shown(each.value)} max=${80} />`},
];

const WITH_SOURCES = [
  ...COLUMNS,
  {key: "source", title: S.source, render: (each) => html`<${Source} of=${each} />`},
  {key: "default", title: S.standard, render: (each) => html`<${Text} value=${shown(each.default)} max=${40} />`},
  {key: "applies", title: S.applies, render: (each) => S.appliesWords[each.applies] ?? each.applies},
];

function Source({of: {source, origin}}) {
  if (source === "request") return html`<span><${Badge} kind="warn">${S.sources.request}<//></span>`;
  return html`<span>${S.sources[source] ?? source}${origin && html` <span class="muted"><${Text} value=${origin} max=${60} /></span>`}</span>`;
}

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? null));

/** @param {object} props `queue`: its document. */
export function QueueSettings({queue}) {
  const {may} = useSession();
  const told = may("admin");
  const {document, problem} = usePolled(told ? "v1/server/settings" : null, {everyMs: EVERY_MS});
  const prefix = `queues.${queue.name}.`;
  const own = (document?.settings ?? []).filter(({path}) => path.startsWith(prefix)).map((each) => ({...each, name: each.path.slice(prefix.length)}));
  const rows = own.length ? own : OPEN.map((name) => ({name, value: queue[name]}));
  const undone = own.filter(({source}) => source === "request").map(({name}) => name);
  return html`
    <section class="card stack">
      <h2>${S.settings}</h2>
      ${problem?.status !== 404 && html`<${Problem} of=${problem} />`}
      ${own.length > 0 && html`<p class=${undone.length ? "note" : "muted"}>${undone.length ? S.undone(undone.join(", ")) : S.nothingUndone}</p>`}
      ${!told && html`<p class="muted">${S.noSources}</p>`}
      <${Table} label=${S.settings} columns=${own.length ? WITH_SOURCES : COLUMNS} rows=${rows} rowKey=${(each) => each.name} />
    </section>`;
}
