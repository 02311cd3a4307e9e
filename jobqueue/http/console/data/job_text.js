/** Documents as texts, bounded: for what JavaScript's own values would falsify, and for what may be long. */

import {openStream} from "./api.js";
import {memberOf, parseJson} from "./json_text.js";
import {untilAnswered} from "./repetition.js";
import {useEffect, useState} from "../ui.js";

/** Bytes of a document that a page reads at most. */
export const DOCUMENT_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Read a text, at most its first bytes.
 *
 * @returns {Promise<{text: string, whole: boolean, bytes: number|null}>} `bytes`: of the whole one, if it is known.
 */
export async function readText(path, {query, bytesMax, signal} = {}) {
  const stop = new AbortController();
  const response = await openStream(path, {query, headers: {Accept: "*/*"}, signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal});
  const length = Number.parseInt(response.headers.get("Content-Length") ?? "", 10);
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let [text, read] = ["", 0];
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return {text: text + decoder.decode(), whole: true, bytes: read};
    const room = bytesMax - read;
    text += decoder.decode(value.subarray(0, room), {stream: true});
    read += value.length;
    if (read > bytesMax) {
      stop.abort();
      return {text, whole: false, bytes: Number.isNaN(length) ? null : length};
    }
  }
}

/**
 * Read a text once for each key; again after a problem that may pass, which is told meanwhile.
 *
 * @returns {{text: object|null, problem: object|null}} What `readText` returns.
 */
export function useText(path, {query, bytesMax, key}) {
  const [state, setState] = useState({text: null, problem: null, of: null});
  const of = path && JSON.stringify([path, query, bytesMax, key]);
  useEffect(() => {
    if (!path) return undefined;
    const stop = new AbortController();
    const onProblem = (problem) => stop.signal.aborted || setState({text: null, problem, of});
    const read = () => readText(path, {query, bytesMax, signal: stop.signal});
    untilAnswered(read, {signal: stop.signal, onProblem}).then((text) => stop.signal.aborted || setState({text, problem: null, of}), onProblem);
    return () => stop.abort();
  }, [of]);
  return path ? state : {text: null, problem: null, of: null};
}

/**
 * Read the arguments, options and files of a job: once for each state and attempt, since it costs the server more than
 * its plain document.
 *
 * @returns {{args: string|null, spec: object|null, files: object[]|null, resultFile: object|null, raw: object|null,
 *   problem: object|null}} `args` is JSON text, null where the server has none; `raw` is the whole text.
 */
export function useIncluded(path, job) {
  const key = job && `${job.state} ${job.attempt} ${job.run_at}`;
  const {text, problem} = useText(job && path, {query: {include: "args,spec,files"}, bytesMax: DOCUMENT_BYTES_MAX, key});
  const [parts, setParts] = useState(NONE);
  useEffect(() => setParts(text === null ? NONE : partsOf(text)), [text]);
  return {...parts, raw: text, problem};
}

const NONE = {args: null, spec: null, files: null, resultFile: null, known: false};

function partsOf({text, whole}) {
  if (!whole) return NONE;
  const root = parseJson(text);
  const slice = (name) => {
    const node = memberOf(root, name);
    return node === null || node.kind === "null" ? null : text.slice(node.start, node.end);
  };
  const value = (name) => JSON.parse(slice(name) ?? "null");
  return {args: slice("args"), spec: value("spec"), files: value("files"), resultFile: value("result_file"), known: true};
}
