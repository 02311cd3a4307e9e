/** The events of a job: those that the server has recorded, and each that comes, the latest first. */

import {get} from "../data/api.js";
import {untilAnswered} from "../data/repetition.js";
import {useEvents} from "../data/stream.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useState} from "../ui.js";
import {Instant} from "./instant.js";
import {shareText} from "./number.js";
import {Problem} from "./problem.js";
import {State} from "./state.js";
import {Text} from "./text.js";

const T = STRINGS.job;
const EVENTS_MAX = 300;
const ENDS = ["succeeded", "failed", "cancelled", "expired"];

/** @param {object} props `path`: of the job, relative to the mount. */
export function JobEvents({path}) {
  const [events, setEvents] = useState([]);
  const add = (more) => setEvents((before) => merged(before, more));
  useEffect(() => {
    const stop = new AbortController();
    const recorded = ({events: found}) => add((found ?? []).map(({id, event, data}) => ({id, name: event, data})));
    const read = () => get(path, {query: {include: "events"}, signal: stop.signal});
    const onProblem = () => undefined; // the stream tells its problems
    untilAnswered(read, {signal: stop.signal, onProblem}).then(recorded, onProblem);
    return () => stop.abort();
  }, [path]);
  const stream = useEvents(`${path}/events`, (event) => add([event]));
  const ended = ENDS.includes(events.at(-1)?.name);
  const dropped = events.dropped ?? 0;
  return html`<div class="stack">
    <p role="status" class="muted">${ended ? T.stream.ended : stream.open ? T.stream.open : T.stream.closed}</p>
    <${Problem} of=${stream.problem} />
    ${!events.length && html`<p class="muted">${T.eventsNone}</p>`}
    <ol class="events">
      ${[...events].reverse().map(({id, name, data}) => html`<li key=${id} class="row">
        <${Instant} at=${data.at} /> <strong><${Text} value=${name} max=${40} /></strong>
        ${data.state && data.state !== name && html`<${State} state=${data.state} />`}
        ${name === "progress" && data.progress && html`<span>${shareText(data.progress.fraction)} <${Text} value=${data.progress.note ?? ""} max=${100} /></span>`}
        ${data.error && html`<code>${data.error.code}</code>`}</li>`)}
    </ol>
    ${dropped > 0 && html`<p class="muted">${T.eventsMore(dropped)}</p>`}
  </div>`;
}

/** Return events in the order of their instants, each once, the latest `EVENTS_MAX`. */
function merged(before, more) {
  const known = new Map(before.map((event) => [event.id, event]));
  for (const event of more) if (event.data?.at) known.set(event.id, event);
  const all = [...known.values()].sort((a, b) => (a.data.at < b.data.at ? -1 : a.data.at > b.data.at ? 1 : 0));
  const kept = all.slice(-EVENTS_MAX);
  kept.dropped = (before.dropped ?? 0) + all.length - kept.length;
  return kept;
}
