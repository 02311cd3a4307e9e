/** The settings in effect: value, default, where each one comes from, and what a change of it takes. */

import {usePolled} from "../data/polling.js";
import {STRINGS} from "../strings.js";
import {html, useMemo} from "../ui.js";
import {Badge} from "./badge.js";
import {Problem} from "./problem.js";
import {Table} from "./table.js";
import {Text} from "./text.js";

const S = STRINGS.server.settings;
const EVERY_MS = 5000;
const SHOWN_MAX = 200;
const KINDS = {file: "accent", environment: "accent", flag: "accent", request: "warn", application: "accent"};

const COLUMNS = [
  {key: "path", title: S.path, render: ({path}) => html`<code><${Text} value=${path} /></code>`},
  {key: "value", title: S.value, render: ({value}) => html`<code><${Text} value=${value} max=${120} /></code>`},
  {key: "default", title: S.default, render: (setting) => (setting.value === setting.default ? html`<span class="muted">${S.same}</span>` : html`<code class="muted"><${Text} value=${setting.default} max=${120} /></code>`)},
  {key: "source", title: S.source, render: (setting) => html`<${SourceOf} setting=${setting} />`},
  {key: "applies", title: S.applies, render: ({applies}) => html`<span><${Badge} kind=${applies === "live" ? "good" : "later"}>${S.when[applies] ?? applies}<//></span>`},
];

/** @param {object} props `query`: of the page, with `q` and `all`; `onChange(changed)`: changes it. */
export function SettingsList({query, onChange}) {
  const {document, problem} = usePolled("v1/server/settings", {everyMs: EVERY_MS});
  const all = query.all === "1";
  const wanted = (query.q ?? "").trim().toLowerCase();
  const found = useMemo(() => (document?.settings ?? []).filter((setting) => fits(setting, wanted, all)), [document, wanted, all]);
  const waiting = Object.entries(document?.restart_required ?? {});
  return html`
    <div class="stack">
      <${Problem} of=${problem} />
      ${waiting.length > 0 && html`<${Waiting} waiting=${waiting} />`}
      <div class="row">
        <label class="row">${S.search}
          <input type="search" data-search value=${query.q ?? ""} placeholder=${S.example} onInput=${(event) => onChange({q: event.target.value || null})} />
        </label>
        <label class="row"><input type="checkbox" checked=${all} onChange=${() => onChange({all: all ? null : "1"})} /> ${S.all}</label>
        <span class="muted" role="status">${document && S.count(found.length, document.settings.length)}</span>
      </div>
      <${Table} label=${S.title} columns=${COLUMNS} rows=${found.slice(0, SHOWN_MAX)} rowKey=${({path}) => path} empty=${document ? S.none(all || wanted) : S.loading} />
      ${found.length > SHOWN_MAX && html`<p class="muted">${S.more(found.length - SHOWN_MAX)}</p>`}
    </div>`;
}

/** A search finds any setting; without one, those that are not at their defaults are shown, or all. */
function fits(setting, wanted, all) {
  const {path, value, source, origin} = setting;
  if (!wanted) return all || value !== setting.default;
  return `${path} ${value} ${source} ${origin ?? ""}`.toLowerCase().includes(wanted);
}

function SourceOf({setting: {source, origin}}) {
  if (source === "default") return html`<span class="muted">${S.sources.default}</span>`;
  return html`<span><${Badge} kind=${KINDS[source]}>${S.sources[source] ?? source}<//> ${origin && html`<span class="muted"><${Text} value=${origin} max=${120} /></span>`}</span>`;
}

function Waiting({waiting}) {
  return html`
    <div class="banner calm" role="note">
      <strong>${S.waiting(waiting.length)}</strong>
      <ul class="names">${waiting.slice(0, 20).map(([path, change]) => html`<li key=${path}><code><${Text} value=${path} /></code>: <${Text} value=${change} max=${200} /></li>`)}</ul>
    </div>`;
}
