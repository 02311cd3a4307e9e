/**
 * A form that publishes data to a topic, and the jobs that came of it.
 *
 * Rules:
 *
 * 1. Nothing is sent that is no topic or no JSON. What the server refuses all the same stands at the field.
 * 2. Data is sent digit by digit as it was entered.
 */

import {curlOf, send} from "../data/api.js";
import {write} from "../data/exact_json.js";
import {reloadAll} from "../data/polling.js";
import {ProblemError} from "../data/problem.js";
import {faultsOf} from "../data/schema_check.js";
import {isTopic, LENGTH_MAX} from "../data/topics.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {FormContext, idOf} from "./form_place.js";
import {JsonField} from "./json_field.js";
import {Problem} from "./problem.js";
import {Text, visibleText} from "./text.js";
import {toast} from "./toast.js";

const S = STRINGS.topics;
const PREFIX = "publish";
const JOBS_SHOWN = 10;

/** @param {object} props `topics`: known ones, to choose from. */
export function PublishForm({topics}) {
  const [topic, setTopic] = useState("");
  const [data, setData] = useState({});
  const [outcome, setOutcome] = useState({busy: false, problem: null, sent: null, publication: null});
  const [showAll, setShowAll] = useState(false);
  const faults = faultsOf(data, {});
  const isRight = isTopic(topic) && data !== undefined && !faults.length;
  const publish = async (event) => {
    event.preventDefault();
    if (outcome.busy) return;
    setShowAll(!isRight);
    if (!isRight) return;
    setOutcome({busy: true, problem: null, sent: null, publication: null});
    setOutcome({...(await published(topic, data)), sent: {topic, data}, busy: false});
  };
  const refused = outcome.sent?.data === data ? pointersOf(outcome.problem) : [];
  return html`
    <form class="card stack" onSubmit=${publish} noValidate>
      <h2>${S.publish}</h2>
      <${Topic} topic=${topic} topics=${topics} onChange=${setTopic} showFault=${showAll && !isTopic(topic)} />
      <${Data} data=${data} onChange=${setData} faults=${[...(showAll ? missing(data, faults) : []), ...refused]} />
      ${outcome.problem && html`<${Problem} of=${withoutPointers(outcome.problem)} />`}
      <div class="row"><button type="submit" class="button primary" disabled=${outcome.busy}>${outcome.busy ? S.publishing : S.publishIt}</button></div>
      ${outcome.publication && html`<${Publication} of=${outcome.publication} />`}
    </form>`;
}

function Topic({topic, topics, onChange, showFault}) {
  return html`
    <div class="field">
      <label for="publish-topic">${S.topic}</label>
      <input id="publish-topic" type="text" class="mono" list="publish-topics" maxlength=${LENGTH_MAX} value=${topic} placeholder="order.paid" autocomplete="off"
        spellcheck=${false} required aria-invalid=${showFault ? "true" : undefined} aria-describedby="publish-topic-hint"
        onInput=${(event) => onChange(event.target.value.trim())} />
      <datalist id="publish-topics">${topics.map((each) => html`<option key=${each} value=${each} />`)}</datalist>
      <span id="publish-topic-hint" class=${showFault ? "fault" : "hint"}>${S.topicHint}</span>
    </div>`;
}

function Data({data, onChange, faults}) {
  const at = (pointer) => faults.filter((each) => each.pointer === pointer).map(({detail}) => detail);
  const below = (pointer) => faults.filter((each) => each.pointer.startsWith(`${pointer}/`));
  const id = idOf(PREFIX, "");
  return html`
    <div class="field">
      <label for=${id}>${S.data}</label>
      <${FormContext.Provider} value=${{root: {}, prefix: PREFIX, faultsAt: at, faultsBelow: below, touch: () => undefined}}>
        <${JsonField} value=${data} onChange=${onChange} pointer="" rows=${5} required />
      <//>
      <span id=${`${id}-hint`} class="hint">${S.dataHint}</span>
      <div id=${`${id}-fault`} aria-live="polite">${at("").map((detail) => html`<p class="fault"><${Text} value=${detail} max=${300} /></p>`)}</div>
    </div>`;
}

const missing = (data, faults) => (data === undefined ? [{pointer: "", detail: S.noData}] : faults);

async function published(topic, data) {
  const path = `v1/topics/${encodeURIComponent(topic)}`;
  const text = write({data});
  try {
    const {document} = await send("POST", path, {form: text, headers: {"Content-Type": "application/json"}});
    toast({sentence: S.published(topic, document.subscribers), curl: curlOf("POST", path, {text}), kind: document.subscribers ? "good" : "warn"});
    reloadAll("v1/");
    return {publication: document, problem: null};
  } catch (problem) {
    if (!(problem instanceof ProblemError)) throw problem;
    return {publication: null, problem};
  }
}

/** The faults that stand at the data, by pointers into it. */
function pointersOf(problem) {
  const ofData = (problem?.errors ?? []).filter(({pointer}) => isOfData(pointer));
  return ofData.map(({pointer, detail}) => ({pointer: pointer.slice("/data".length), detail}));
}

const isOfData = (pointer) => pointer === "/data" || pointer.startsWith("/data/");

function withoutPointers({title, detail, status, slug, retryAfterS, errors}) {
  return {title, detail, status, slug, retryAfterS, errors: errors.filter(({pointer}) => !isOfData(pointer))};
}

function Publication({of: {topic, jobs}}) {
  return html`
    <div class="note calm" role="status">
      <p>${S.published(visibleText(topic, 80), jobs.length)}</p>
      <ul class="plain-list">
        ${jobs.slice(0, JOBS_SHOWN).map(({id, type}) => html`<li key=${id}><a href=${href("job", {id})}><code>${id}</code></a> <${Text} value=${type} max=${60} /></li>`)}
        ${jobs.length > JOBS_SHOWN && html`<li class="muted">${STRINGS.actions.more(jobs.length - JOBS_SHOWN)}</li>`}
      </ul>
    </div>`;
}
