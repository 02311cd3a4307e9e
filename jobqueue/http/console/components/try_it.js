/**
 * Try it: a form that submits a job of a type, and follows the job.
 *
 * Rules:
 *
 * 1. Nothing is sent that the schema refuses. What the server refuses all the same stands at the fields.
 * 2. The form is filled from a job (`from`) but for what the server hides: that has to be entered anew.
 * 3. What is entered stays after a submission, for the next one.
 */

import {send} from "../data/api.js";
import {parse} from "../data/exact_json.js";
import {DOCUMENT_BYTES_MAX, readText} from "../data/job_text.js";
import {blankObject} from "../data/json_schema.js";
import {reloadAll, usePolled} from "../data/polling.js";
import {ProblemError} from "../data/problem.js";
import {untilAnswered} from "../data/repetition.js";
import {faultsOf} from "../data/schema_check.js";
import {argumentsAgain, argumentsSchema, faultsByForm, optionsSchema, requestOf} from "../data/submission.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useMemo, useState} from "../ui.js";
import {CopyAs} from "./copy_as.js";
import {FileDrop} from "./file_drop.js";
import {FollowedJob} from "./followed_job.js";
import {Problem} from "./problem.js";
import {SchemaForm} from "./schema_form.js";
import {Text} from "./text.js";

const S = STRINGS.type;
const NO_FAULTS = {args: [], options: [], others: []};

/** @param {object} props `type`: its document; `from`: the id of a job with the arguments to begin with. */
export function TryIt({type, from}) {
  const schema = useMemo(() => argumentsSchema(type), [JSON.stringify(type.arguments)]);
  const options = useOptions();
  const [value, setValue] = useState(() => ({args: blankObject(schema, schema), options: {}, files: []}));
  const [outcome, setOutcome] = useState({job: null, problem: null, sent: null, busy: false});
  const [showAll, setShowAll] = useState(false);
  const {mayChange} = useSession();
  const put = (member) => (next) => setValue((before) => ({...before, [member]: next}));
  const origin = useOrigin(from, type, put("args"));
  const isValid = !faultsOf(value.args, schema).length && !faultsOf(value.options, options).length;
  const refused = faultsByForm(outcome.problem?.errors);
  const submit = async (event) => {
    event.preventDefault();
    if (outcome.busy) return;
    setShowAll(!isValid);
    if (!isValid) return;
    setOutcome({job: null, problem: null, sent: value, busy: true});
    setOutcome({...(await sent(type.type, value)), sent: value, busy: false});
  };
  if (!mayChange("submit")) return html`<p class="card muted">${S.mayNot}</p>`;
  const shown = outcome.problem ? refused : NO_FAULTS;
  return html`
    <form class="stack try-it" onSubmit=${submit} noValidate>
      <${Origin} from=${from} origin=${origin} type=${type} />
      <div class="card"><${SchemaForm} key=${origin.filled} label=${S.arguments} prefix="args" schema=${schema} value=${value.args} onChange=${put("args")}
        problems=${shown.args} sent=${outcome.sent?.args} showAll=${showAll} /></div>
      <div class="card"><${FileDrop} files=${value.files} onChange=${put("files")} /></div>
      <details class="card" open=${shown.options.length > 0}><summary>${S.optionsOfJob}</summary>
        <${SchemaForm} label=${S.optionsOfJob} prefix="options" schema=${options} value=${value.options} onChange=${put("options")}
          problems=${shown.options} sent=${outcome.sent?.options} showAll=${showAll} asJson=${false} /></details>
      ${showAll && !isValid && html`<p class="fault" role="alert">${S.invalid}</p>`}
      <${Refusal} problem=${outcome.problem} others=${shown.others} />
      <div class="row">
        <button type="submit" class="button primary" disabled=${outcome.busy}>${outcome.busy ? S.submitting : S.submit}</button>
      </div>
      ${isValid && html`<${CopyAs} type=${type.type} value=${value} />`}
    </form>
    ${outcome.job && html`<${FollowedJob} key=${outcome.job.document.id} answer=${outcome.job} />`}`;
}

/** The schema of the options, with the names of the server's queues. */
function useOptions() {
  const {document} = usePolled("v1/queues", {everyMs: Infinity});
  const names = (document?.queues ?? []).map(({name}) => name);
  return useMemo(() => optionsSchema(names, S.optionWords), [names.join(" ")]);
}

async function sent(type, {args, options, files}) {
  const {body, form, headers} = requestOf(type, args, options, files);
  try {
    // The text goes out as it is: `body` would be written by JavaScript's JSON, which changes numbers.
    const job = await send("POST", "v1/jobs", form ? {form, headers} : {form: body, headers: {...headers, "Content-Type": "application/json"}});
    reloadAll("v1/");
    return {job, problem: null};
  } catch (problem) {
    if (!(problem instanceof ProblemError)) throw problem;
    return {job: null, problem};
  }
}

/** Read the job that the form is filled from. */
function useOrigin(from, type, put) {
  const [origin, setOrigin] = useState({job: null, problem: null, hidden: 0, filled: 0, empty: false});
  useEffect(() => {
    if (!from) return undefined;
    const reading = new AbortController();
    const {signal} = reading;
    const read = () => readText(`v1/jobs/${encodeURIComponent(from)}`, {query: {include: "args"}, bytesMax: DOCUMENT_BYTES_MAX, signal});
    const onProblem = (problem) => signal.aborted || setOrigin((before) => ({...before, problem}));
    const fill = ({text}) => {
      const job = parse(text);
      const {args, hidden} = argumentsAgain(job.args, type.redact, S.hiddenFault);
      if (job.args !== null) put(args);
      setOrigin({job, problem: null, hidden: hidden.length, filled: 1, empty: job.args === null});
    };
    untilAnswered(read, {signal, onProblem}).then(fill).catch(onProblem);
    return () => reading.abort();
  }, [from]);
  return origin;
}

function Origin({from, origin: {job, problem, hidden, empty}, type}) {
  if (problem) return html`<p>${S.notFilled} <code><${Text} value=${from} max=${60} /></code></p><${Problem} of=${problem} />`;
  if (!job) return null;
  return html`
    <div class="note calm" role="status">
      ${empty ? S.noArgumentsLeft : html`${S.filledFrom} <code>${job.id}</code>.`}
      ${hidden > 0 && html` <strong>${S.hidden(hidden)}</strong>`}
      ${job.type !== type.type && html` ${S.otherType(job.type)}`}
    </div>`;
}

/** A refusal of the server, but for the faults that stand at fields. */
function Refusal({problem, others}) {
  if (!problem) return null;
  const {title, detail, status, slug, retryAfterS} = problem;
  return html`<${Problem} of=${{title, detail, status, slug, retryAfterS, errors: others}} />`;
}
