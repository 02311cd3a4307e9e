/**
 * The page Live: the tail of all events, newest first, with filters; what it holds can be exported.
 *
 * Rules:
 *
 * 1. The server hands over at most `RATE_MAX` events a second, and says where it leaves some out: at full load they can't
 *    be read anyway, and all of them would cost it a third of its time.
 * 2. The list is drawn at most four times a second, with at most `SHOWN_MAX` rows. A filter only hides.
 */

import {Empty} from "../components/empty.js";
import {EventRow} from "../components/event_row.js";
import {countText, rateText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {Problem} from "../components/problem.js";
import {useDrawing} from "../data/drawing.js";
import {EventTail, KEPT_MAX} from "../data/event_tail.js";
import {usePolled} from "../data/polling.js";
import {useStore} from "../data/store.js";
import {useEvents} from "../data/stream.js";
import {paused} from "../data/visibility.js";
import {useNow} from "../data/clock.js";
import {go} from "../shell/router.js";
import {useKeys} from "../shell/keys.js";
import {STRINGS} from "../strings.js";
import {html, useRef} from "../ui.js";

const S = STRINGS.live;
const RATE_MAX = 200;
const SHOWN_MAX = 200;
const EVENTS = [
  ...["submitted", "delayed", "queued", "started", "progress", "changed", "stopping", "retrying"],
  ...["succeeded", "failed", "cancelled", "expired", "quarantined", "released", "ticked"],
];

export const title = STRINGS.pages.live;

export default function Live({query}) {
  const tail = useRef(null);
  tail.current ??= new EventTail();
  const drawing = useDrawing();
  const {problem} = useEvents(`v1/events?rate_max=${RATE_MAX}`, (event) => {
    tail.current.add(event);
    drawing.ask();
  });
  const isPaused = useStore(paused);
  const clear = () => {
    tail.current.clear();
    drawing.ask();
  };
  useKeys({e: {label: S.export, run: () => save(tail.current, query)}, c: {label: S.clear, run: clear}}, {label: title});
  const shown = tail.current.shown(query, SHOWN_MAX);
  return html`
    <${PageHead} title=${title}>
      <button class="button" aria-pressed=${isPaused} onClick=${() => paused.set(!isPaused)}>${isPaused ? S.resume : S.pause}</button>
      <button class="button" onClick=${() => save(tail.current, query)} disabled=${!tail.current.events.length}>${S.export}</button>
      <button class="button" onClick=${clear}>${S.clear}</button>
    <//>
    <${Filters} query=${query} />
    <${Rates} tail=${tail.current} />
    <${Problem} of=${problem} />
    ${shown.length
      ? html`
        <div class="table-box cards tail">
          <table class="table" role="table" aria-label=${title}>
            <thead role="rowgroup">
              <tr role="row">${[S.at, S.event, S.job, S.type, S.queue, S.more].map((each) => html`<th role="columnheader" scope="col">${each}</th>`)}</tr>
            </thead>
            <tbody role="rowgroup">${shown.map((event) => html`<${EventRow} key=${event.key} event=${event} />`)}</tbody>
          </table>
        </div>
        <p class="muted">${S.bound(countText(shown.length), countText(KEPT_MAX))}</p>`
      : html`<div class="table-box"><${Empty}>${tail.current.events.length ? S.noneFit : S.none}<//></div>`}`;
}

function Filters({query}) {
  const {document} = usePolled("v1/queues", {everyMs: 1000});
  const types = usePolled("v1/types", {everyMs: 30_000}).document?.types ?? [];
  const change = (name) => (event) => go("live", {}, {...query, [name]: event.target.value}, {replace: true});
  return html`
    <form class="row" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label=${S.event} value=${query.event} names=${EVENTS} onChange=${change("event")} />
      <${Choice} label=${S.type} value=${query.type} names=${types.map(({type}) => type)} onChange=${change("type")} />
      <${Choice} label=${S.queue} value=${query.queue} names=${(document?.queues ?? []).map(({name}) => name)} onChange=${change("queue")} />
      <label class="row">${S.text}
        <input type="search" data-search value=${query.text ?? ""} placeholder=${S.textHint} onInput=${change("text")} />
      </label>
    </form>`;
}

function Choice({label, value = "", names, onChange}) {
  const all = value && !names.includes(value) ? [value, ...names] : names;
  return html`
    <label class="row">${label}
      <select value=${value} onChange=${onChange}>
        <option value="">${S.any}</option>
        ${all.map((name) => html`<option key=${name} value=${name} selected=${name === value}>${name}</option>`)}
      </select>
    </label>`;
}

/** How many events come, and how many jobs end in all: more, where the server leaves events out. */
function Rates({tail}) {
  useNow();
  const {document} = usePolled("v1/queues", {everyMs: 1000});
  const ended = (document?.queues ?? []).reduce((sum, queue) => sum + queue.drain_rate_per_s, 0);
  return html`<p class="muted" role="note">${S.rates(rateText(tail.rate()), rateText(ended), RATE_MAX)}</p>`;
}

/** Save what the tail holds, as lines of JSON. */
function save(tail, filter) {
  const url = URL.createObjectURL(new Blob([tail.lines(filter)], {type: "application/jsonl"}));
  const link = document.createElement("a");
  link.href = url;
  link.download = `events-${new Date().toISOString().replaceAll(":", "")}.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
