/**
 * A page of the list of jobs, kept fresh.
 *
 * Rules:
 *
 * 1. At most one request a second. A page whose search costs the server more is read less often: it takes at most
 *    `SHARE_MAX` of the time.
 * 2. A search that ended without a full page goes on (`JobSearch`); what it finds is kept fresh by its ids.
 * 3. While a changed query is read, the jobs of the one before stay.
 */

import {get} from "./api.js";
import {JobSearch, NO_SEARCH} from "./job_search.js";
import {usePolled} from "./polling.js";
import {untilAnswered} from "./repetition.js";
import {useStore} from "./store.js";
import {useCallback, useEffect, useRef, useState} from "../ui.js";

export const PAGE_JOBS = 50;
const EVERY_MS = 1000;
const EVERY_MS_MAX = 10_000;
const SHARE_MAX = 0.02;

/**
 * @param {object|null} query Conditions of the list; null: none is read.
 * @param {string|null} cursor Of the page.
 * @param {boolean} estimates Whether the places and ETAs of the jobs are shown: these move while no job changes.
 * @returns {{jobs: object[]|null, next: string|null, unsearched: number, problem: object|null, search: JobSearch|null,
 *   found: object, reload: function}} `found` is the state of the search.
 */
export function useJobPage(query, cursor, estimates) {
  const [everyMs, setEveryMs] = useState(EVERY_MS);
  const [search, setSearch] = useState(null);
  const found = useStore(search ? search.found : NO_SEARCH);
  const wanted = query && {...query, limit: PAGE_JOBS, ...(cursor ? {cursor} : {})};
  const key = JSON.stringify(wanted);
  const pace = found.jobs.length || found.state === "runs" ? 2 * everyMs : everyMs;
  const polled = usePolled(wanted && "v1/jobs", {query: wanted, everyMs: pace, estimates});
  const {document} = polled;
  const early = Boolean(document?.next_cursor) && document.jobs.length < PAGE_JOBS;
  useEffect(() => {
    if (!early) return undefined;
    const made = new JobSearch(query, document.next_cursor, PAGE_JOBS - document.jobs.length);
    setSearch(made);
    made.goOn();
    return () => {
      made.stop();
      setSearch(null);
    };
  }, [key, early]);
  useEffect(() => {
    if (polled.tookMs) setEveryMs(Math.min(EVERY_MS_MAX, Math.max(EVERY_MS, Math.round(polled.tookMs / SHARE_MAX / 1000) * 1000)));
  }, [polled.tookMs]);
  const fresh = useFresh(found.jobs, 2 * everyMs, estimates);
  const last = useRef(null);
  if (document) last.current = eachOnce(document.jobs, early ? fresh : []);
  return {
    jobs: last.current,
    next: early ? found.cursor : (document?.next_cursor ?? null),
    unsearched: document?.unsearched ?? 0,
    problem: polled.problem,
    search: early ? search : null,
    found,
    reload: polled.reload,
  };
}

/** Return jobs as they are now, read again by their ids. */
function useFresh(jobs, everyMs, estimates) {
  const ids = jobs.map(({id}) => id).join(",");
  const {document} = usePolled(ids ? "v1/jobs" : null, {query: ids ? {ids} : undefined, everyMs, estimates});
  const known = new Map(document?.jobs.filter(({state}) => state).map((job) => [job.id, job]) ?? []);
  return jobs.map((job) => known.get(job.id) ?? job);
}

function eachOnce(...lists) {
  const all = new Map();
  for (const job of lists.flat()) if (!all.has(job.id)) all.set(job.id, job);
  return [...all.values()];
}

/**
 * Count all jobs that match: once for each query, and on demand.
 *
 * @returns {{total: number|null, complete: boolean, problem: object|null, count: function}}
 */
export function useJobCount(query) {
  const key = JSON.stringify(query);
  const [asked, ask] = useState(0);
  const [counted, setCounted] = useState({total: null, complete: true, problem: null});
  useEffect(() => {
    if (!query) return undefined;
    const stop = new AbortController();
    const onProblem = (problem) => stop.signal.aborted || setCounted({total: null, complete: true, problem});
    const read = () => get("v1/jobs", {query: {...query, count: 1, limit: 1}, signal: stop.signal});
    untilAnswered(read, {signal: stop.signal, onProblem}).then(
      (page) => setCounted({total: page.total, complete: page.total_complete, problem: null}),
      onProblem,
    );
    return () => stop.abort();
  }, [key, asked]);
  const count = useCallback(() => ask((before) => before + 1), []);
  return {...counted, count};
}
