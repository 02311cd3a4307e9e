/** A job that was just submitted: its state, live, until it ends; then its result or its error. */

import {useIncluded} from "../data/job_text.js";
import {usePolled} from "../data/polling.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html, useRef} from "../ui.js";
import {JobResult} from "./job_result.js";
import {Problem} from "./problem.js";
import {State} from "./state.js";
import {Text} from "./text.js";

const S = STRINGS.type;
const EVERY_MS = 500;
const LIVE = ["waiting", "delayed", "queued", "running"];

/** @param {object} props `answer`: of the submission, as `send` returned it. */
export function FollowedJob({answer}) {
  const {id} = answer.document;
  const path = `v1/jobs/${id}`;
  const state = useRef(answer.document.state);
  const polled = usePolled(path, {everyMs: LIVE.includes(state.current) ? EVERY_MS : Infinity});
  const job = polled.document ?? answer.document;
  const live = LIVE.includes(job.state);
  state.current = job.state;
  const {resultFile, known} = useIncluded(path, job.state === "succeeded" ? job : null);
  const percent = job.progress?.fraction === undefined ? null : Math.round(job.progress.fraction * 100);
  return html`
    <section class="card stack followed" aria-live="polite">
      <div class="spread">
        <h2>${S.accepted(id)}</h2>
        <span class="row"><${State} state=${job.state} /> <a class="button" href=${href("job", {id})}>${S.open}</a></span>
      </div>
      ${answer.headers.get("Job-Deduplicated") && html`<p class="note calm">${S.existing}</p>`}
      <${Problem} of=${polled.problem} />
      ${live && percent !== null && html`<progress max="100" value=${percent}>${percent} %</progress>`}
      ${job.progress?.note && html`<p><${Text} value=${job.progress.note} max=${200} /></p>`}
      ${job.error && html`<p class="fault"><code>${job.error.code}</code> <${Text} value=${job.error.message} max=${400} /></p>`}
      ${job.state === "succeeded" && html`<h3>${S.result}</h3><${JobResult} job=${job} path=${path} file=${resultFile} known=${known} />`}
      <p class="muted">${live ? S.following : S.ended}</p>
    </section>`;
}
