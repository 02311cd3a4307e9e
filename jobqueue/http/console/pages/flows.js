/** The page Flows: all of them, the newest first, and how far each is. */

import {Awaited} from "../components/awaited.js";
import {durationText} from "../components/duration.js";
import {Empty} from "../components/empty.js";
import {Age, msOf} from "../components/instant.js";
import {countText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {PageSteps} from "../components/page_steps.js";
import {State} from "../components/state.js";
import {Table} from "../components/table.js";
import {usePolled} from "../data/polling.js";
import {go, href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

const S = STRINGS.flow;
const T = STRINGS.jobs.columns;
const EVERY_MS = 2000;
const PAGE_MAX = 100;

export const title = STRINGS.pages.flows;

export default function Page() {
  const [cursors, setCursors] = useState([]);
  const {store} = useSession();
  const {document, problem} = usePolled(store ? null : "v1/flows", {query: {limit: PAGE_MAX, cursor: cursors.at(-1)}, everyMs: EVERY_MS});
  if (store) return html`<${PageHead} title=${title} /><${Empty}>${STRINGS.shell.notInStore}<//>`;
  return html`
    <${PageHead} title=${title} />
    <${Awaited} document=${document} problem=${problem} />
    ${document && html`
      <${Table} label=${title} columns=${COLUMNS} rows=${document.flows} rowKey=${({id}) => id} onOpen=${({id}) => go("flow", {id})} empty=${S.none} />
      <${PageSteps} number=${cursors.length + 1} next=${document.next_cursor} onNext=${() => setCursors([...cursors, document.next_cursor])}
        onPrevious=${() => setCursors(cursors.slice(0, -1))} onFirst=${() => setCursors([])} />`}`;
}

const COLUMNS = [
  {key: "id", title: T.id, align: "whole", render: ({id}) => html`<a href=${href("flow", {id})}><code>${id}</code></a>`},
  {key: "state", title: T.state, align: "whole", render: ({state}) => html`<span><${State} state=${state} /></span>`},
  {key: "progress", title: T.progress, render: endedText},
  {key: "age", title: T.age, align: "whole", render: ({created_at: at}) => html`<${Age} at=${at} />`},
  {key: "run", title: T.run, align: "end", blank: ({finished_at: at}) => !at, render: ({created_at: from, finished_at: to}) => to && durationText((msOf(to) - msOf(from)) / 1000)},
];

function endedText({live, ended}) {
  const over = Object.values(ended).reduce((sum, count) => sum + count, 0);
  return S.ended(countText(over), countText(live + over));
}
