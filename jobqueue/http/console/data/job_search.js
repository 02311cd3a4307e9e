/**
 * A search for jobs that goes on where the server ended it: request after request, from cursor to cursor.
 *
 * Rules:
 *
 * 1. At most one request a second, and none while the tab is hidden.
 * 2. It rests when the page is full or all records are searched. After `ROUNDS_AT_ONCE` requests it stops, and goes on
 *    when it is told to.
 */

import {get} from "./api.js";
import {createStore} from "./store.js";
import {visible} from "./visibility.js";

const EVERY_MS = 1000;
const ROUNDS_AT_ONCE = 20;

/** `state` is `runs`, `stopped` (it can go on), `failed` (it can, too) or `rests`; `rounds` counts its requests. */
export const NO_SEARCH = createStore({state: "rests", jobs: [], cursor: null, rounds: 0, problem: null});

export class JobSearch {
  /**
   * @param {object} query The conditions.
   * @param {string} cursor Where the server ended.
   * @param {number} room Jobs that there is room for.
   */
  constructor(query, cursor, room) {
    this.query = query;
    this.room = room;
    this.running = null;
    this.found = createStore({...NO_SEARCH.get(), state: "runs", cursor});
  }

  stop() {
    this.running?.abort();
    this.running = null;
    if (this.found.get().state === "runs") this.found.update({state: "stopped"});
  }

  async goOn() {
    if (this.running) return;
    const {signal} = (this.running = new AbortController());
    this.found.update({state: "runs", problem: null});
    try {
      for (let round = 1; this.found.get().state === "runs"; round += 1) {
        if (round > 1) await rest(EVERY_MS, signal);
        if (!visible.get()) continue;
        await this.read(signal);
        if (round >= ROUNDS_AT_ONCE && this.found.get().state === "runs") this.found.update({state: "stopped"});
      }
    } catch (problem) {
      if (!signal.aborted) this.found.update({state: "failed", problem});
    }
    if (this.running?.signal === signal) this.running = null;
  }

  async read(signal) {
    const {jobs, cursor, rounds} = this.found.get();
    const page = await get("v1/jobs", {query: {...this.query, cursor, limit: this.room - jobs.length}, signal});
    if (signal.aborted) return;
    const all = [...jobs, ...page.jobs];
    const over = page.next_cursor === null || all.length >= this.room;
    this.found.update({jobs: all, cursor: page.next_cursor, rounds: rounds + 1, state: over ? "rests" : "runs"});
  }
}

function rest(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, {once: true});
  });
}
