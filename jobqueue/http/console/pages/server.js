/** The page Server: its figures, commands, settings with their sources, the latest lines of its log, webhooks, its audit. */

import {ActionRing} from "../components/action_ring.js";
import {Awaited} from "../components/awaited.js";
import {DrainProgress} from "../components/drain_progress.js";
import {Empty} from "../components/empty.js";
import {LogLines} from "../components/log_lines.js";
import {PageHead} from "../components/page_head.js";
import {ServerCommands} from "../components/server_commands.js";
import {ServerFigures} from "../components/server_figures.js";
import {SettingsList} from "../components/settings_list.js";
import {Tabs} from "../components/tabs.js";
import {WebhooksPanel} from "../components/webhooks_panel.js";
import {usePolled} from "../data/polling.js";
import {go} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";

const S = STRINGS.server;
const EVERY_MS = 2000;

export const title = STRINGS.pages.server;

export default function Server({query}) {
  const {may} = useSession();
  if (!may("admin")) return html`<${PageHead} title=${title} /><${Empty}>${S.needsAdmin}<//>`;
  return html`<${Whole} query=${query} />`;
}

function Whole({query}) {
  const {document, problem, reload} = usePolled("v1/server", {everyMs: EVERY_MS});
  const change = (changed) => go("server", {}, {...query, ...changed}, {replace: true});
  const tabs = [
    {key: "settings", title: S.settings.title, render: () => html`<${SettingsList} query=${query} onChange=${change} />`},
    {key: "log", title: S.log.title, render: () => html`<${LogLines} query=${query} onChange=${change} />`},
    {key: "webhooks", title: STRINGS.webhooks.title, render: () => html`<${WebhooksPanel} />`},
    {key: "actions", title: S.actions.title, render: () => html`<${ActionRing} />`},
  ];
  return html`
    <${PageHead} title=${title}>
      ${document && html`<span class="muted">${S.about(document.version, document.build, document.python, document.pid)}</span>`}
    <//>
    <${Awaited} document=${document} problem=${problem} />
    ${document?.draining && html`<${DrainProgress} server=${document} />`}
    ${document && html`<${ServerCommands} server=${document} onChanged=${reload} />`}
    ${document && html`<${ServerFigures} server=${document} />`}
    <section class="card">
      <${Tabs} label=${S.parts} tabs=${tabs} active=${query.tab} onSelect=${(tab) => change({tab})} />
    </section>`;
}
