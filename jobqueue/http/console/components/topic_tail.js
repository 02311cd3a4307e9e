/**
 * The live tail of a pattern: what is published to the topics that match, newest first.
 *
 * Its stream is open while this is shown in a tab that is visible and not paused, and shared by the tabs of a browser.
 */

import {useDrawing} from "../data/drawing.js";
import {useStore} from "../data/store.js";
import {useEvents} from "../data/stream.js";
import {publishedOf, streamPath} from "../data/topics.js";
import {paused} from "../data/visibility.js";
import {STRINGS} from "../strings.js";
import {html, useRef} from "../ui.js";
import {Badge} from "./badge.js";
import {Empty} from "./empty.js";
import {Instant} from "./instant.js";
import {bytesText} from "./number.js";
import {Problem} from "./problem.js";
import {Text} from "./text.js";

const S = STRINGS.topics;
const KEPT_MAX = 100;
const DATA_SHOWN = 300;

/** @param {object} props `pattern`: of topics, checked. */
export function TopicTail({pattern}) {
  const kept = useRef({rows: [], number: 0});
  const drawing = useDrawing();
  const stream = useEvents(
    streamPath(pattern),
    ({name, data}) => {
      const {rows, number} = kept.current;
      const row = name === "published" ? publishedOf(data) : {gap: name};
      kept.current = {rows: [{key: number, ...row}, ...rows].slice(0, KEPT_MAX), number: number + 1};
      drawing.ask();
    },
    {asText: true},
  );
  const {rows, number} = kept.current;
  return html`
    <div class="stack tight">
      <p class="row" role="status"><span><${Connection} stream=${stream} /></span>
        <span class="muted">${S.heard(number, Math.min(number, KEPT_MAX))}</span></p>
      <${Problem} of=${stream.problem} />
      ${rows.length
        ? html`<ol class="topic-tail" aria-label=${S.tailOf(pattern)} tabindex="0">${rows.map((row) => html`<${Row} key=${row.key} row=${row} />`)}</ol>`
        : html`<${Empty}>${S.nothingYet}<//>`}
    </div>`;
}

/** Whether the stream is open, and in which tab: only the one that leads knows more. */
function Connection({stream: {open, leads}}) {
  const isPaused = useStore(paused);
  if (open) return html`<${Badge} kind="good">● ${S.listening}<//>`;
  return html`<${Badge}>○ ${leads || isPaused ? S.notListening : S.inOtherTab}<//>`;
}

function Row({row: {gap, topic, at, data, omitted}}) {
  if (gap) return html`<li class="gap">${S.gaps[gap] ?? gap}</li>`;
  return html`
    <li>
      <span class="spread"><code class="topic-name">${topic}</code> <span class="muted"><${Instant} at=${at} withMs /></span></span>
      ${omitted === null ? html`<code><${Text} value=${data} max=${DATA_SHOWN} /></code>` : html`<span class="muted">${S.omitted(bytesText(omitted))}</span>`}
    </li>`;
}
