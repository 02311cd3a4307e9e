/**
 * Polling: documents that are read again and again while a page shows them.
 *
 * Rules:
 *
 * 1. Equal paths share one poller: one request, at the shortest interval that is asked for, and at most four a second.
 * 2. A hidden or paused tab polls nothing, and neither does one that has lost the server (`connection`).
 * 3. The next request is due an interval after the last answer, so a slow server is never asked twice at once.
 * 4. An unchanged document (304, or the same tag) redraws nothing. One with estimates (of live jobs: `poll_after_ms`) is
 *    always read, since its tag doesn't cover them: a job, and a list whose reader shows them (`estimates`).
 * 5. A refusal waits for its Retry-After. Another problem doubles the interval, up to `REST_MS_MAX`. What is read once is
 *    read again after a problem that may pass.
 * 6. The last document stays, with the problem beside it. Pollers without readers are dropped, but for the last few.
 */

import {getIfChanged} from "./api.js";
import {connection} from "./connection.js";
import {AGAIN_MS, mayPass} from "./repetition.js";
import {paused, visible} from "./visibility.js";
import {useCallback, useEffect, useState} from "../ui.js";

const EVERY_MS_MIN = 250;
const REST_MS_MAX = 30_000;
const IDLE_MAX = 24;

const pollers = new Map();

class Poller {
  /**
   * @param {object|function} query The parameters, or a function that makes them of the document so far.
   * @param {object} options `fold`: makes the next document of the one so far and of an answer; without it the answer is
   *   it. `estimates`: whether those of the jobs in a list are shown.
   */
  constructor(path, query, {fold = (_, answer) => answer, estimates = false} = {}) {
    this.path = path;
    this.query = query;
    this.fold = fold;
    this.estimates = estimates;
    this.readers = new Map();
    this.state = {document: null, problem: null, at: null};
    this.etag = null;
    this.timer = null;
    this.running = null;
    this.failures = 0;
  }

  join(reader, everyMs) {
    this.readers.set(reader, Math.max(EVERY_MS_MIN, everyMs));
    if (this.state.at === null || Date.now() - this.state.at >= this.everyMs) this.ask({first: this.state.at === null});
    else this.schedule();
  }

  leave(reader) {
    this.readers.delete(reader);
    if (this.readers.size) return;
    clearTimeout(this.timer);
    this.timer = null;
    this.abort();
    forgetIdle();
  }

  /** Give up the request under way: the next one need not wait for its end. */
  abort() {
    this.running?.abort();
    this.running = null;
  }

  get everyMs() {
    return Math.min(...this.readers.values());
  }

  get hasEstimates() {
    const {document} = this.state;
    const jobs = this.estimates ? (document?.jobs ?? []) : [];
    return [document, ...jobs].some((each) => each?.poll_after_ms != null);
  }

  get rests() {
    return !visible.get() || paused.get() || connection.get().goneSince !== null;
  }

  schedule() {
    clearTimeout(this.timer);
    this.timer = null;
    const {problem} = this.state;
    const once = this.everyMs === Infinity;
    if (!this.readers.size || this.rests || (once && !mayPass(problem))) return;
    const backedOff = Math.min(REST_MS_MAX, (once ? AGAIN_MS : this.everyMs) * 2 ** Math.min(this.failures, 8));
    const waitMs = problem ? Math.max(backedOff, (problem.retryAfterS ?? 0) * 1000) : this.everyMs;
    this.timer = setTimeout(() => this.ask(), waitMs);
  }

  async ask({first = false, anyway = false} = {}) {
    if (this.running || (this.rests && !anyway && !(first && visible.get()))) return;
    clearTimeout(this.timer);
    const running = (this.running = new AbortController());
    try {
      const began = performance.now();
      const query = typeof this.query === "function" ? this.query(this.state.document) : this.query;
      const etag = this.hasEstimates ? null : this.etag;
      const got = await getIfChanged(this.path, {query, signal: running.signal, etag});
      if (running.signal.aborted) return;
      this.failures = 0;
      this.etag = got.etag;
      const document = got.changed ? this.fold(this.state.document, got.document) : this.state.document;
      this.state = {document, problem: null, at: Date.now(), tookMs: performance.now() - began};
      this.tell();
    } catch (problem) {
      if (running.signal.aborted) return;
      this.failures += 1;
      if (problem.status !== 0 || this.state.document === null) this.state = {...this.state, problem, at: this.state.at};
      this.tell();
    } finally {
      if (this.running === running) this.running = null;
      if (!running.signal.aborted) this.schedule();
    }
  }

  tell() {
    for (const reader of [...this.readers.keys()]) reader();
  }
}

function forgetIdle() {
  const idle = [...pollers].filter(([, poller]) => !poller.readers.size);
  for (const [key] of idle.slice(0, -IDLE_MAX)) pollers.delete(key);
}

function wake() {
  for (const poller of pollers.values()) if (poller.readers.size) poller.ask();
}

visible.subscribe(wake);
paused.subscribe(wake);
connection.subscribe(({goneSince}) => goneSince === null && wake());

/** Read all documents again whose path begins so: after an action that changes them. */
export function reloadAll(prefix = "") {
  for (const poller of pollers.values()) {
    if (poller.readers.size && poller.path.startsWith(prefix)) poller.ask({anyway: true});
  }
}

/** Forget all documents: another session may see others. */
export function forgetAll() {
  for (const [key, poller] of pollers) if (!poller.readers.size) pollers.delete(key);
  for (const poller of pollers.values()) {
    poller.abort(); // its answer is another session's, or says that nothing has changed
    Object.assign(poller, {etag: null, state: {document: null, problem: null, at: null}});
  }
  reloadAll();
}

/**
 * Return a document that is kept fresh while the component is shown.
 *
 * @param {string|null} path Relative to the mount; null reads nothing.
 * @param {object} options `everyMs`: the interval, Infinity for once; `query`: its parameters; `estimates`: of the jobs in
 *   a list are shown, too.
 * @returns {{document: any, problem: ProblemError|null, at: number|null, tookMs: number|undefined, reload: function(): void}} `at` is the instant of the
 *   last good answer, in milliseconds of the viewer's clock; `tookMs` how long that one took.
 */
export function usePolled(path, {query, everyMs = 1000, estimates = false} = {}) {
  const key = path === null ? null : JSON.stringify([path, query ?? null, estimates]);
  return useKept(key, () => new Poller(path, query ?? undefined, {estimates}), everyMs);
}

/**
 * Return a document that grows: each answer is folded into it, and the next request is made of it.
 *
 * @param {string} name Of the document: readers of one name share it.
 * @param {object} options `query(document)`, `fold(document, answer)`: as of `Poller`; `everyMs`: as of `usePolled`.
 */
export function useFolded(name, path, {query, fold, everyMs}) {
  return useKept(`${path} ${name}`, () => new Poller(path, query, {fold}), everyMs);
}

function useKept(key, make, everyMs) {
  const [, redraw] = useState(null);
  useEffect(() => {
    if (key === null) return undefined;
    const poller = pollerOf(key, make);
    const reader = () => redraw({});
    poller.join(reader, everyMs);
    return () => poller.leave(reader);
  }, [key, everyMs]);
  const reload = useCallback(() => key !== null && pollers.get(key)?.ask({anyway: true}), [key]);
  const state = (key !== null && pollers.get(key)?.state) || {document: null, problem: null, at: null};
  return {...state, reload};
}

function pollerOf(key, make) {
  const poller = pollers.get(key) ?? make();
  pollers.delete(key); // so that the latest ones are last
  pollers.set(key, poller);
  return poller;
}
