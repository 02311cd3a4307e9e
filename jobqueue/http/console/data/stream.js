/**
 * Streams: server-sent events, one stream a browser for each path, shared by its tabs.
 *
 * Rules:
 *
 * 1. The tab that holds the Web Lock of a path reads its stream and broadcasts each batch; the others listen. Without
 *    Web Locks (a page over plain HTTP from another machine) each tab reads for itself.
 * 2. A tab takes part only while it is shown and not paused: a hidden leader lets the lock go, and the next tab resumes
 *    the stream after the last event that it has seen (`Last-Event-ID`), so nothing is lost or shown twice.
 * 3. Events are handed over in batches, at most four a second, whatever the load.
 * 4. A stream that breaks is opened again after the server's `retry:`, or a Retry-After; one that ends with 204 is not.
 */

import {openStream} from "./api.js";
import {rest} from "./repetition.js";
import {EventReader} from "./sse.js";
import {createStore, useStore} from "./store.js";
import {paused, visible} from "./visibility.js";
import {useEffect, useRef} from "../ui.js";

const BATCH_MS = 250;
const RETRY_MS = 2000;
const REST_MS_MAX = 30_000;
/** Answers that a repetition does not change. */
const FINAL = [400, 401, 403, 404, 410, 501];

const streams = new Map();

class Stream {
  constructor(path, asText) {
    this.path = path;
    this.asText = asText;
    this.readers = new Set();
    this.state = createStore({open: false, leads: false, problem: null});
    this.lastId = null;
    this.batch = [];
    this.flushTimer = null;
    this.active = null;
    this.channel = null;
  }

  join(reader) {
    this.readers.add(reader);
    this.look();
  }

  leave(reader) {
    this.readers.delete(reader);
    if (this.readers.size) return;
    this.stop();
    streams.delete(this.path);
  }

  /** Begin or stop, as it should be now. */
  look() {
    const wanted = this.readers.size > 0 && visible.get() && !paused.get();
    if (wanted && !this.active) this.start();
    if (!wanted && this.active) this.stop();
  }

  start() {
    const active = (this.active = new AbortController());
    this.channel = "BroadcastChannel" in window ? new BroadcastChannel(`jobqueue ${this.path} ${document.baseURI}`) : null;
    if (this.channel) this.channel.onmessage = ({data}) => this.take(data);
    const lead = () => this.lead(active.signal);
    if (!navigator.locks) lead();
    else {
      const name = `jobqueue ${this.path} ${document.baseURI}`;
      navigator.locks.request(name, {signal: active.signal}, lead).catch(() => undefined);
    }
  }

  stop() {
    this.active?.abort();
    this.active = null;
    this.channel?.close();
    this.channel = null;
    this.flush();
    this.state.set({open: false, leads: false, problem: null});
  }

  /** Read the stream until this tab no longer takes part. */
  async lead(signal) {
    this.state.update({leads: true});
    let failures = 0;
    while (!signal.aborted) {
      const reader = new EventReader({asText: this.asText});
      let waitMs = RETRY_MS;
      try {
        const headers = this.lastId === null ? {} : {"Last-Event-ID": this.lastId};
        const response = await openStream(this.path, {headers, signal});
        if (response.status === 204) return;
        failures = 0;
        this.state.update({open: true, problem: null});
        await this.read(response, reader);
        waitMs = reader.retryMs ?? RETRY_MS;
      } catch (problem) {
        if (signal.aborted) return;
        failures += 1;
        const after = (problem.retryAfterS ?? 0) * 1000;
        waitMs = Math.min(REST_MS_MAX, Math.max(after, RETRY_MS * 2 ** Math.min(failures - 1, 4)));
        if (problem.name === "Problem" && problem.status !== 0) this.state.update({problem});
        if (FINAL.includes(problem.status)) return;
      }
      this.state.update({open: false});
      await rest(waitMs, signal);
    }
  }

  async read(response, reader) {
    const decoder = new TextDecoder();
    for (const source = response.body.getReader(); ; ) {
      const {done, value} = await source.read();
      if (done) return;
      for (const event of reader.feed(decoder.decode(value, {stream: true}))) this.batch.push(event);
      if (reader.lastId !== null) this.lastId = reader.lastId;
      if (this.flushTimer === null) this.flushTimer = setTimeout(() => this.flush(), BATCH_MS);
    }
  }

  flush() {
    clearTimeout(this.flushTimer);
    this.flushTimer = null;
    const {batch, lastId} = this;
    this.batch = [];
    if (!batch.length) return;
    this.channel?.postMessage({batch, lastId});
    this.take({batch, lastId});
  }

  take({batch, lastId}) {
    this.lastId = lastId;
    for (const reader of [...this.readers]) for (const event of batch) reader(event);
  }
}

function lookAtAll() {
  for (const stream of [...streams.values()]) stream.look();
}

visible.subscribe(lookAtAll);
paused.subscribe(lookAtAll);

const NONE = createStore({open: false, leads: false, problem: null});

/**
 * Hand each event of a stream to a function while the component is shown.
 *
 * @param {string|null} path Relative to the mount, with its query: `v1/events?rate_max=200`; null: no stream.
 * @param {function({id: string, name: string, data: object|string}): void} onEvent
 * @param {{asText: boolean}} [options] `asText`: data stays the text that came; the same for all readers of a path.
 * @returns {{open: boolean, leads: boolean, problem: ProblemError|null}} Whether it is open in this tab, and why not.
 */
export function useEvents(path, onEvent, {asText = false} = {}) {
  const latest = useRef(onEvent);
  latest.current = onEvent;
  useEffect(() => {
    if (path === null) return undefined;
    const reader = (event) => latest.current(event);
    const stream = streamOf(path, asText);
    stream.join(reader);
    return () => stream.leave(reader);
  }, [path]);
  return useStore(path === null ? NONE : streamOf(path, asText).state);
}

function streamOf(path, asText) {
  if (!streams.has(path)) streams.set(path, new Stream(path, asText));
  return streams.get(path);
}
