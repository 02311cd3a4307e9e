/** The page Schedules: what submits jobs again and again, when, what came of it last, and what can be done with each. */

import {Awaited} from "../components/awaited.js";
import {Duration} from "../components/duration.js";
import {Age} from "../components/instant.js";
import {PageHead} from "../components/page_head.js";
import {PageSteps} from "../components/page_steps.js";
import {ActionOfSchedule, actionsOf, ScheduleActions} from "../components/schedule_actions.js";
import {Condition, LastTick, When} from "../components/schedule_facts.js";
import {Table} from "../components/table.js";
import {Text} from "../components/text.js";
import {usePolled} from "../data/polling.js";
import {useKeys} from "../shell/keys.js";
import {go, href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useRef, useState} from "../ui.js";

const S = STRINGS.schedules;
const EVERY_MS = 2000;
const PAGE_MAX = 100;

export const title = STRINGS.pages.schedules;

export default function Page() {
  const [cursors, setCursors] = useState([]);
  const [asked, ask] = useState(null);
  const place = useRef(null);
  const {mayChange} = useSession();
  const {document, problem} = usePolled("v1/schedules", {query: {limit: PAGE_MAX, cursor: cursors.at(-1)}, everyMs: EVERY_MS});
  const schedules = document?.schedules ?? [];
  const mayAct = mayChange("operate");
  const act = (choose) => {
    const rows = [...(place.current?.querySelectorAll("tbody tr") ?? [])];
    const schedule = schedules[rows.indexOf(window.document.activeElement)];
    const action = schedule && choose(actionsOf(schedule));
    if (action) ask({schedule, action});
  };
  useKeys(mayAct ? {r: {label: S.runKey, run: () => act(() => "run")}, p: {label: S.pauseKey, run: () => act(([, second]) => second)}} : {}, {label: title});
  return html`
    <${PageHead} title=${title}>${document && html`<span class="muted">${S.total(schedules.length, document.next_cursor !== null)}</span>`}<//>
    <${Awaited} document=${document} problem=${problem} />
    ${document && html`
      <div ref=${place}>
        <${Table} label=${title} columns=${mayAct ? [...COLUMNS, ACTIONS] : COLUMNS} rows=${schedules} rowKey=${keyOf}
          onOpen=${({name}) => go("schedule", {name})} empty=${html`<${NoSchedules} />`} />
      </div>
      <${PageSteps} number=${cursors.length + 1} next=${document.next_cursor} onNext=${() => setCursors([...cursors, document.next_cursor])}
        onPrevious=${() => setCursors(cursors.slice(0, -1))} onFirst=${() => setCursors([])} />`}
    ${asked && html`<${ActionOfSchedule} ...${asked} onClose=${() => ask(null)} />`}`;
}

/** A name is unique for a key alone: other keys may have schedules of the same name. */
const keyOf = ({name, source, caller}) => `${name} ${source} ${caller ?? ""}`;

const COLUMNS = [
  {key: "name", title: S.name, align: "whole", render: ({name}) => html`<a href=${href("schedule", {name})}><${Text} value=${name} max=${40} /></a>`},
  {key: "type", title: S.type, align: "whole", render: ({type}) => html`<a href=${href("type", {name: type})}><${Text} value=${type} max=${40} /></a>`},
  {key: "when", title: S.when, render: (schedule) => html`<${When} schedule=${schedule} />`},
  {key: "next_at", title: S.next, align: "whole", render: (schedule) => html`<${Next} schedule=${schedule} />`},
  {key: "last", title: S.last, align: "whole", render: ({last}) => html`<${LastTick} last=${last} />`},
  {key: "drift", title: S.drift, align: "end", blank: ({last}) => last === null, render: ({last}) => last && html`<${Duration} seconds=${last.drift_s} />`},
  {key: "overlap", title: S.overlap, render: ({overlap}) => overlap},
  {key: "state", title: S.state, render: (schedule) => html`<${Condition} schedule=${schedule} />`},
];

const ACTIONS = {key: "actions", title: S.actionsTitle, align: "whole", render: (schedule) => html`<${ScheduleActions} schedule=${schedule} small />`};

function Next({schedule: {next_at: at, pause}}) {
  if (at !== null) return html`<${Age} at=${at} />`;
  return html`<span class="muted">${pause === null ? S.never : "–"}</span>`;
}

function NoSchedules() {
  return html`<p>${S.none(useSession().keys)}</p><p><code>${S.noneExample}</code></p>`;
}
