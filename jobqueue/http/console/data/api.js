/**
 * The API: every request of the console goes through it.
 *
 * Rules:
 *
 * 1. Paths are relative to where the API is mounted, such as `v1/jobs`; nothing is absolute.
 * 2. An answer of 400 or more is a `ProblemError`, and so is no answer (status 0).
 * 3. A read without an answer within `READ_MS_MAX` counts as unanswered: a loop that is stuck looks like a server that
 *    is gone, and is shown as one.
 * 4. A request that changes something carries `Console-Action`, so that the server audits it, with the viewer's reason.
 */

import {answered, unanswered} from "./connection.js";
import {MOUNT} from "./mount.js";
import {ProblemError, problemOf} from "./problem.js";
import {shellQuoted} from "./shell_words.js";
import {createStore} from "./store.js";
import {STRINGS} from "../strings.js";

const READ_MS_MAX = 10_000;
const CHANGE_MS_MAX = 60_000;

/** Counts 401 answers: the session ended, or there was none. */
export const unauthorized = createStore(0);

let keysInUse = false;

/** Note whether the server wants keys: commands that are copied then have a place for one. */
export function setKeysInUse(inUse) {
  keysInUse = inUse;
}

/** Return the URL of a path, with a query; members that are null, undefined or empty are left out. */
export function urlOf(path, query) {
  const url = new URL(path, MOUNT);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === null || value === undefined || value === "" || value === false) continue;
    url.searchParams.set(name, value === true ? "1" : String(value));
  }
  return url;
}

/** Read a document. Throws ProblemError; an AbortError where `signal` ended it. */
export async function get(path, {query, signal} = {}) {
  const response = await answer(urlOf(path, query), {signal, limitMs: READ_MS_MAX});
  return documentOf(response);
}

/** Read a document unless it still has a tag; `document` is null where it has. Throws ProblemError. */
export async function getIfChanged(path, {query, signal, etag} = {}) {
  const headers = etag ? {"If-None-Match": etag} : {};
  const response = await answer(urlOf(path, query), {headers, signal, limitMs: READ_MS_MAX});
  const changed = response.status !== 304;
  return {document: changed ? await documentOf(response) : null, changed, etag: response.headers.get("ETag")};
}

/**
 * Change something. Throws ProblemError.
 *
 * @param {object} options `body`: sent as JSON; `form`: a FormData; `reason`: the viewer's words for the audit.
 * @returns {Promise<{status: number, document: any, headers: Headers}>}
 */
export async function send(method, path, {query, body, form, headers, signal, reason} = {}) {
  const all = new Headers(headers);
  if (body !== undefined) all.set("Content-Type", "application/json");
  all.set("Console-Action", reason ? encodeURIComponent(reason) : "1");
  const options = {method, headers: all, body: form ?? (body === undefined ? undefined : JSON.stringify(body))};
  const response = await answer(urlOf(path, query), {...options, signal, limitMs: CHANGE_MS_MAX});
  return {status: response.status, document: await documentOf(response), headers: response.headers};
}

/** Open a stream of events; the answer's body is to be read. Throws ProblemError. */
export function openStream(path, {query, headers, signal} = {}) {
  return answer(urlOf(path, query), {headers: {Accept: "text/event-stream", ...headers}, signal, limitMs: null});
}

async function answer(url, {limitMs, signal, ...options}) {
  const limit = limitMs === null ? null : AbortSignal.timeout(limitMs);
  const signals = [signal, limit].filter(Boolean);
  let response;
  try {
    response = await fetch(url, {cache: "no-store", signal: signals.length ? AbortSignal.any(signals) : null, ...options});
  } catch (error) {
    if (signal?.aborted) throw error;
    unanswered();
    throw new ProblemError(0, {title: STRINGS.shell.unreachable, detail: STRINGS.shell.unreachableDetail});
  }
  answered();
  if (response.status === 401) unauthorized.set(unauthorized.get() + 1);
  if (response.status >= 400) throw await problemOf(response);
  return response;
}

async function documentOf(response) {
  if (response.status === 204 || response.headers.get("Content-Length") === "0") return null;
  const text = await response.text();
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  return isJson && text ? JSON.parse(text) : text || null;
}

/** Return a request as a curl command, without a key: a variable stands for it. `text`: a body that is JSON already. */
export function curlOf(method, path, {query, body, text = body === undefined ? undefined : JSON.stringify(body)} = {}) {
  const words = ["curl"];
  if (method !== "GET") words.push("-X", method);
  words.push(shellQuoted(urlOf(path, query).href));
  if (keysInUse) words.push("-H", '"Authorization: Bearer $JOBQUEUE_KEY"');
  if (text !== undefined) words.push("-H", shellQuoted("Content-Type: application/json"), "-d", shellQuoted(text));
  return words.join(" ");
}
