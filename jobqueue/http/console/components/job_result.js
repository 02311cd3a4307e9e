/** The result of a job: JSON as a tree, a file with its preview; a long one on demand. */

import {urlOf} from "../data/api.js";
import {DOCUMENT_BYTES_MAX, useText} from "../data/job_text.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {JsonTree} from "./json_tree.js";
import {bytesText} from "./number.js";
import {Problem} from "./problem.js";
import {Text} from "./text.js";

const T = STRINGS.job;
const AT_ONCE_BYTES = 64 * 1024;
const HEAD_BYTES = 1024;
const PREVIEW_BYTES_MAX = 8 * 1024 * 1024;

/**
 * @param {object} props `job`: its document; `path`: of it, relative to the mount; `file`: the result file, null: none;
 *   `known`: whether it is known if there is one.
 */
export function JobResult({job, path, file, known}) {
  if (job.state !== "succeeded") return html`<p class="muted">${T.noResult(STRINGS.states[job.state])}</p>`;
  if (!known) return html`<p role="status">${T.reading}</p>`;
  return file ? html`<${ResultFile} path=${path} file=${file} />` : html`<${JsonResult} path=${path} />`;
}

function JsonResult({path}) {
  const [bytesMax, setBytesMax] = useState(AT_ONCE_BYTES);
  const {text, problem} = useText(`${path}/result`, {bytesMax, key: "json"});
  if (problem) return html`<${Problem} of=${problem} />`;
  if (!text) return html`<p role="status">${T.reading}</p>`;
  const json = text.text.trim();
  if (text.whole) return json === "null" ? html`<p>${T.resultNull}</p>` : html`<${JsonTree} text=${json} label=${T.tabs.result} />`;
  const size = text.bytes === null ? "" : bytesText(text.bytes);
  const beyond = bytesMax >= DOCUMENT_BYTES_MAX;
  return html`<div class="stack">
    <p>${T.head(bytesText(HEAD_BYTES))}</p>
    <pre class="card"><${Text} value=${text.text.slice(0, HEAD_BYTES)} max=${HEAD_BYTES} pre /></pre>
    <p class="row">
      ${beyond ? T.tooLong(size) : html`<button type="button" class="button" onClick=${() => setBytesMax(DOCUMENT_BYTES_MAX)}>${T.showAll(size)}</button>`}
      <${Download} path=${path} /></p>
  </div>`;
}

function ResultFile({path, file}) {
  const [shown, show] = useState(file.size_bytes <= PREVIEW_BYTES_MAX);
  const kind = kindOf(file.media_type);
  return html`<div class="stack">
    <p class="row"><span>${T.resultFile(file.media_type, bytesText(file.size_bytes))}</span> <${Download} path=${path} /></p>
    ${kind === null && html`<p class="muted">${T.noPreview}</p>`}
    ${kind !== null && (shown
      ? html`<${Preview} path=${path} kind=${kind} />`
      : html`<p class="row"><span>${T.previewTooLong(bytesText(file.size_bytes))}</span>
          <button type="button" class="button" onClick=${() => show(true)}>${T.showPreview}</button></p>`)}
  </div>`;
}

function Download({path}) {
  return html`<a class="button" href=${urlOf(`${path}/result`).href} download=${`${path.split("/").pop()}-result`}>${T.download}</a>`;
}

function kindOf(mediaType) {
  const [kind, sub = ""] = mediaType.toLowerCase().split(";")[0].split("/");
  if (["image", "audio", "video"].includes(kind)) return kind;
  return kind === "text" || /^(?:json|xml|x-ndjson|csv)$|\+json$|\+xml$/.test(sub) ? "text" : null;
}

/** A preview in an element that runs no script; the server sends files with a sandbox, too. */
function Preview({path, kind}) {
  const [failed, fail] = useState(false);
  const source = urlOf(`${path}/result`).href;
  if (failed) return html`<p class="muted" role="status">${T.previewFailed}</p>`;
  const onError = () => fail(true);
  if (kind === "image") return html`<img class="preview" src=${source} alt=${T.preview} onError=${onError} />`;
  const player = {class: "preview", controls: true, preload: "metadata", src: source, "aria-label": T.preview, onError};
  if (kind === "audio") return html`<audio ...${player}></audio>`;
  if (kind === "video") return html`<video ...${player}></video>`;
  return html`<${TextPreview} path=${path} />`;
}

function TextPreview({path}) {
  const {text, problem} = useText(`${path}/result`, {bytesMax: AT_ONCE_BYTES, key: "text"});
  if (problem) return html`<${Problem} of=${problem} />`;
  if (!text) return html`<p role="status">${T.reading}</p>`;
  return html`<pre class="card" tabindex="0" aria-label=${T.preview}><${Text} value=${text.text} max=${HEAD_BYTES} pre />${!text.whole && "…"}</pre>`;
}
