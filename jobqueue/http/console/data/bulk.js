/**
 * Actions on many jobs: the dry run first, then in portions, so that progress is seen and the rest can be stopped.
 *
 * Rules:
 *
 * 1. Jobs by id are changed one by one, a few at once; jobs by a filter with the actions of the API.
 * 2. An action on more than `PORTION` jobs is several requests with a `limit`. The last one meets fewer jobs than that.
 * 3. Jobs that were submitted after the dry run are not met: its instant, by the server's clock, bounds the filter.
 * 4. A cancel of running jobs is one request: until their handlers have stopped, a second one would count them again.
 */

import {curlOf, get, send} from "./api.js";

export const PORTION = 1000;
const PORTIONS_MAX = 20;
const AT_ONCE = 4;
const IDS_MAX = 100;
const SAMPLE_MAX = 20;
const LIVE = ["waiting", "delayed", "queued", "running"];
const ENDED = ["succeeded", "failed", "cancelled", "expired"];

/** The actions: the states in which they apply to a job, and the request that changes one. */
export const ACTIONS = {
  retry: {states: ["failed"], request: (id) => ["POST", `v1/jobs/${encodeURIComponent(id)}:retry`], scope: "operate"},
  cancel: {states: LIVE, request: (id) => ["POST", `v1/jobs/${encodeURIComponent(id)}:cancel`], scope: "operate", destroys: true},
  delete: {states: ENDED, request: (id) => ["DELETE", `v1/jobs/${encodeURIComponent(id)}`], scope: "operate", destroys: true},
  run: {states: ["delayed"], request: (id) => ["POST", `v1/jobs/${encodeURIComponent(id)}:run`], scope: "operate"},
};

/**
 * @typedef {object} Found What an action would change.
 * @property {number} count
 * @property {{id: string, type?: string, state?: string}[]} sample
 * @property {number} others Jobs among the ids that the action doesn't apply to.
 * @property {number} unsearched Jobs that the filter could not look into.
 * @property {string|null} until The instant of the dry run, for a filter.
 */

/** Ask what an action would change. @returns {Promise<Found>} */
export async function dryRun(action, {ids, filter}, signal) {
  if (!ids) {
    const {document, headers} = await send("POST", `v1/jobs:${action}`, {body: {...filter, dry_run: true}, signal});
    const sample = (document.sample ?? []).map((id) => ({id}));
    return {count: document.count, sample, others: 0, unsearched: document.unsearched ?? 0, until: instantAfter(headers?.get?.("Date"))};
  }
  const found = [];
  for (let at = 0; at < ids.length; at += IDS_MAX) {
    const {jobs} = await get("v1/jobs", {query: {ids: ids.slice(at, at + IDS_MAX).join(",")}, signal});
    found.push(...jobs.filter(({state}) => ACTIONS[action].states.includes(state)));
  }
  const sample = found.slice(0, SAMPLE_MAX).map(({id, type, state}) => ({id, type, state}));
  return {count: found.length, ids: found.map(({id}) => id), sample, others: ids.length - found.length, unsearched: 0, until: null};
}

/** Return the second after an instant of the server: its own clock has only whole ones there. */
function instantAfter(date) {
  const at = Date.parse(date ?? "");
  return Number.isNaN(at) ? null : new Date(at + 1000).toISOString();
}

/**
 * Carry an action out.
 *
 * @param {Found} found Of its dry run.
 * @param {(done: {count: number, skipped: Record<string, number>}) => void} onProgress
 * @param {AbortSignal} stop Ends it after the requests that are under way.
 * @returns {Promise<{count: number, skipped: Record<string, number>, stopped: boolean, curl: string}>} `skipped` counts
 *     by reason.
 */
export async function carryOut(action, {ids, filter}, found, {reason, onProgress, stop}) {
  if (ids) return changeEach(action, found.ids, {reason, onProgress, stop});
  return changeMatching(action, filter, found, {reason, onProgress, stop});
}

async function changeEach(action, ids, {reason, onProgress, stop}) {
  const done = {count: 0, skipped: {}};
  const left = [...ids];
  const next = async () => {
    for (let id = left.shift(); id !== undefined && !stop.aborted; id = left.shift()) {
      const [method, path] = ACTIONS[action].request(id);
      try {
        await send(method, path, {reason});
        done.count += 1;
      } catch (problem) {
        if (!problem.status || problem.status === 401 || problem.status === 403) throw problem;
        const why = problem.title ?? problem.slug ?? "unknown";
        done.skipped[why] = (done.skipped[why] ?? 0) + 1;
      }
      onProgress({...done});
    }
  };
  await Promise.all(Array.from({length: AT_ONCE}, next));
  return {...done, stopped: stop.aborted && done.count < ids.length, curl: eachCurl(action, ids)};
}

/** Return the request for one job as curl, and for several in a loop. */
function eachCurl(action, ids) {
  const [method, path] = ACTIONS[action].request(ids[0] ?? "ID");
  const one = curlOf(method, path, {});
  return ids.length < 2 ? one : `for id in ${ids.join(" ")}; do\n  ${one.replaceAll(ids[0], "'$id'")}\ndone`;
}

async function changeMatching(action, filter, found, {reason, onProgress, stop}) {
  const path = `v1/jobs:${action}`;
  const limit = found.count > PORTION ? Math.max(PORTION, Math.ceil(found.count / PORTIONS_MAX)) : null;
  const bounded = limit === null ? filter : {...filter, until: earlier(filter.until, found.until)};
  const done = {count: 0, skipped: {}};
  const curl = curlOf("POST", path, {body: filter});
  for (const part of partsOf(action, bounded, limit)) {
    const before = done.skipped;
    for (let portion = 0; portion <= PORTIONS_MAX + 1; portion += 1) {
      if (stop.aborted) return {...done, stopped: true, curl};
      const {document} = await send("POST", path, {body: part, reason});
      done.count += document.count;
      done.skipped = sum(before, reasonsOf(document)); // a portion meets those again that the one before skipped
      onProgress({...done});
      if (part.limit === undefined || document.count < part.limit) break;
    }
  }
  return {...done, stopped: false, curl};
}

/** Return the filters of the requests: a cancel has one for each live state, if it is made in portions. */
function partsOf(action, filter, limit) {
  if (limit === null) return [filter];
  if (action !== "cancel") return [{...filter, limit}];
  const states = filter.state ? [filter.state] : LIVE;
  return states.map((state) => ({...filter, state, ...(state === "running" ? {} : {limit})}));
}

function reasonsOf(document) {
  if (document.skipped_by) return document.skipped_by;
  return document.skipped ? {"": document.skipped} : {};
}

function sum(one, other) {
  const both = {...one};
  for (const [why, count] of Object.entries(other)) both[why] = (both[why] ?? 0) + count;
  return both;
}

function earlier(one, other) {
  if (!one || !other) return one ?? other ?? undefined;
  return Date.parse(one) < Date.parse(other) ? one : other;
}
