/**
 * The JavaScript client of jobqueue: one ES module for browsers and Node (18 or newer), without dependencies.
 *
 *     import { Client } from "./jobqueue.js";
 *
 *     const client = new Client("http://127.0.0.1:8080", { key: "jq_…" });
 *     const result = await client.run({ type: "thumbnail", args: { path: "a.png" } });
 *
 * Rules, those of the Python client:
 *
 * 1. A rejected submission is repeated no sooner than the server asked, with jitter, and only for `retryForS`.
 * 2. Each single submission has an idempotency key, kept over its repetitions: after a lost answer it can be sent again,
 *    and still is one job. A batch has none: when its answer is lost, the fate of its jobs is unknown.
 * 3. An unknown fate stays unknown until an answer resolves it, whatever fails after it.
 * 4. A read that is not answered, or only by a proxy, is repeated for `retryReadsForS`. Actions are never repeated.
 * 5. A stream of events that breaks is resumed after the last event received.
 * 6. Each call takes an `AbortSignal`, and then rejects with its reason. What was sent may have taken effect.
 * 7. Durations are seconds, and end with `S` here, with `_s` in documents. Documents are those of the HTTP API.
 * 8. No message shows a key, and a key goes into the header `Authorization` and nowhere else.
 *
 * @module
 */

/** @typedef {import("./openapi.js").components["schemas"]} Documents */
/** @typedef {Documents["Job"]} Job */
/** @typedef {Documents["JobState"]} JobState */
/** @typedef {Documents["Queue"]} Queue */
/** @typedef {Documents["QueueChange"]} QueueChange */
/** @typedef {Documents["SimulationRequest"]} SimulationRequest */
/** @typedef {Documents["Forecast"]} Forecast */
/** @typedef {Documents["BulkFilter"]} BulkFilter */
/** @typedef {Documents["BulkResult"]} BulkResult */
/** @typedef {NonNullable<Operations["listJobs"]["parameters"]["query"]>} ListFilter */

/** @typedef {import("./openapi.js").operations} Operations */
/** @typedef {Operations["getJob"]["responses"][200]["content"]["application/json"]} JobWithMembers */
/** @typedef {Operations["getType"]["responses"][200]["content"]["application/json"]} JobType */
/** @typedef {Operations["getServer"]["responses"][200]["content"]["application/json"]} Server */
/** @typedef {Operations["listProblemTypes"]["responses"][200]["content"]["application/json"]["problems"][number]} ProblemKind */
/** @typedef {Operations["reloadServer"]["responses"][200]["content"]["application/json"]} Reloaded */
/** @typedef {Operations["drainServer"]["responses"][202]["content"]["application/json"]} Drained */
/** @typedef {Operations["getStats"]["responses"][200]["content"]["application/json"]} Stats */
/** @typedef {NonNullable<Operations["getStats"]["parameters"]["query"]>} StatsQuery */
/** @typedef {Operations["listFindings"]["responses"][200]["content"]["application/json"]["findings"][number]} Finding */
/** @typedef {Operations["listWebhooks"]["responses"][200]["content"]["application/json"]["webhooks"][number]} Webhook */
/** @typedef {Documents["Flow"]} Flow */
/** @typedef {Operations["listFlows"]["responses"][200]["content"]["application/json"]} FlowPage */
/** @typedef {FlowPage["flows"][number]} FlowSummary */
/** @typedef {NonNullable<Operations["listFlows"]["parameters"]["query"]>} FlowFilter */
/** @typedef {Documents["Schedule"]} Schedule */
/** @typedef {Documents["ScheduleSubmission"]} ScheduleSubmission */
/** @typedef {Operations["publish"]["responses"][202]["content"]["application/json"]} Publication */
/** @typedef {Operations["listTopics"]["responses"][200]["content"]["application/json"]} Topics */
/** @typedef {Operations["getServerLog"]["responses"][200]["content"]["application/json"]} ServerLog */
/** @typedef {NonNullable<Operations["getServerLog"]["parameters"]["query"]>} LogQuery */
/** @typedef {Operations["getServerSettings"]["responses"][200]["content"]["application/json"]} ServerSettings */
/** @typedef {Operations["listFailures"]["responses"][200]["content"]["application/json"]} Failures */
/** @typedef {NonNullable<Operations["listFailures"]["parameters"]["query"]>} FailureFilter */
/** @typedef {Operations["getFailure"]["responses"][200]["content"]["application/json"]} Failure */
/** @typedef {Operations["listCallers"]["responses"][200]["content"]["application/json"]} Callers */
/** @typedef {NonNullable<Operations["listCallers"]["parameters"]["query"]>} CallersQuery */
/** @typedef {Operations["blockCaller"]["responses"][200]["content"]["application/json"]} Caller */
/** @typedef {"args" | "spec" | "files" | "events"} MemberOnRequest */

/**
 * A page of a list; `next_cursor` begins the next one.
 *
 * @typedef {{jobs: Job[], next_cursor?: string | null}} JobPage
 */

/**
 * The document of a submission, in which an instant may be a `Date`.
 *
 * @typedef {Omit<Documents["Submission"], "run_at"> & {run_at?: Date | string | null}} Submission
 */

/**
 * A job of a graph: a submission with a name; its `after` has names of other jobs of the graph.
 *
 * @typedef {Omit<Documents["NamedSubmission"], "run_at"> & {run_at?: Date | string | null}} NamedSubmission
 */

/**
 * A graph of jobs, in any order, without files.
 *
 * @typedef {{jobs: NamedSubmission[]}} Graph
 */

/**
 * A part of a graph: a type, a submission, with `name`, `after` and `on_failure` if it needs them, or another graph.
 *
 * @typedef {string | (Omit<NamedSubmission, "name"> & {name?: string}) | Graph} Part
 */

/**
 * A job's document with what the answer to a submission tells beside it.
 *
 * @typedef {Job & {deduplicated: boolean}} SubmittedJob
 */

/**
 * The content of a file: a `Blob`, a `File` (its name is kept), bytes, or a text.
 *
 * @typedef {Blob | ArrayBuffer | ArrayBufferView | string} FileContent
 */

/**
 * A file of a submission: its content, or that with the name and the media type that the handler sees.
 *
 * @typedef {FileContent | {content: FileContent, name?: string, type?: string}} FileSource
 */

/**
 * The files of a submission: part name to a file, or to a list of them; or a form's data, which has only files in it.
 *
 * @typedef {Record<string, FileSource | FileSource[]> | FormData} Files
 */

/**
 * @typedef {object} ClientOptions
 * @property {string} [key] The API key. Node: defaults to the variable `JOBQUEUE_KEY`; an empty one sends none.
 * @property {number} [timeoutS] How long to wait for an answer, and for the next bytes of it, beside a requested wait.
 *     Defaults to 30.
 * @property {number} [retryReadsForS] How long a read that is not answered, or only by a proxy, is repeated. Defaults to 5.
 * @property {Record<string, string>} [headers] Sent with every request.
 * @property {typeof fetch} [fetch] Carries the requests, instead of the global one: for proxies, client certificates, tests.
 */

/**
 * @typedef {object} CallOptions
 * @property {AbortSignal} [signal] Ends the call.
 */

/**
 * @typedef {object} OwnSubmitOptions
 * @property {Files} [files] The handler finds them in `ctx.files`.
 * @property {string} [idempotencyKey] Your own key for this submission, 1 to 255 printable ASCII characters, instead of a
 *     generated one: submitted again under it, even by another program, it is the same job.
 * @property {number} [retryForS] How long to repeat it after a rejection (by its Retry-After), while no server listens, or
 *     when the answer was lost, or a proxy's. It never becomes two jobs, as long as one server runs. Defaults to 0.
 * @property {number} [waitS] `submit`: return as soon as the job is terminal, or after this time; defaults to 0. `run`:
 *     reject after this time; defaults to no limit.
 */

/** @typedef {OwnSubmitOptions & CallOptions} SubmitOptions */

/**
 * @typedef {object} OwnRunOptions
 * @property {(progress: JobProgress) => void} [onProgress] Called for each change of the job, as by `progress`.
 */

/** @typedef {SubmitOptions & OwnRunOptions} RunOptions */

/**
 * The state of a job at one instant. `fraction` (0 to 1) and `note` are what its handler reported last.
 *
 * @typedef {{id: string, state: JobState, attempt: number, fraction: number | null, note: string | null}} JobProgress
 */

/**
 * The answer to a HEAD; `code` is 202 while the job is live, 200 once it is terminal.
 *
 * @typedef {{code: 200 | 202, state: JobState, over: boolean, etag: string | null, retryAfterS: number | null}} JobStatus
 */

/**
 * An event. `name` is its kind, `data` its document, `state` the job's state in it, and `over` tells whether it was the
 * job's last one.
 *
 * @typedef {{id: string, name: string, data: Record<string, any>, state: JobState | null, over: boolean}} JobEvent
 */

/**
 * An event of what is published: `name` is `published`, `data` what was published, `topic` where; `data` is null and
 * `omittedBytes` its size if it is too large for a stream. After an event `reset`, without a topic, some may be missed.
 *
 * @typedef {{id: string, name: string, topic: string | null, data: any, at: string | null, omittedBytes: number | null}} TopicEvent
 */

/**
 * What a call asks for, to be sent after a pause of `afterS`. `quietS` is the extra time without a byte from the server,
 * such as a requested wait.
 *
 * @typedef {object} ClientRequest
 * @property {"GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE"} method
 * @property {string} target
 * @property {Record<string, string>} [headers]
 * @property {string | FormData} [body]
 * @property {number} [afterS]
 * @property {number} [quietS]
 * @property {AbortSignal} [signal]
 */

/** @typedef {{status: number, headers: Headers, text: string}} ServerAnswer */

const PAUSE_S = 1; // before the next try, where the server doesn't say
const PAUSE_S_MIN = 0.1; // a server that asks for no pause must not be flooded
const PAUSE_S_MAX = 86_400; // a day: no timer has to take 1e400
const JITTER = 0.2; // maximum random extension, as a share of a pause: spreads clients that were rejected together
const RETRY_FOR_S = 30; // how long a wait goes on while the server does not answer
const WAIT_S_MAX = 25; // asked for in one request: well under the 30 to 60 s after which proxies give up
const SLACK_S = 0.1; // maximum difference between a wait and the applied one that it counts as
const STREAM_QUIET_S = 30; // between two signs of life of a stream, beside the timeout; a server gives one each 15 s
const SIMULATION_S = 20; // after which a simulation has been answered
const TIMER_S_MAX = 2_000_000; // setTimeout takes at most 2^31 ms, and fires at once beyond
const IDS_MAX = 100;
const SCHEDULES_MAX = 1000; // on a page
const BATCH_MAX = 1000;
const BATCH_CHARACTERS = 1 << 18; // in one request: at most 786 KiB in UTF-8, within a server's default limit
const ANSWER_BYTES_MAX = 1 << 28; // of one answer in memory
const EVENT_CHARACTERS_MAX = 1 << 26; // an event that never ends is a fault, not a leak
const EXCERPT_LENGTH = 200; // of a page that is not this server's

const LIVE = new Set(["waiting", "delayed", "queued", "running"]);
const STATES = new Set([...LIVE, "succeeded", "failed", "cancelled", "expired"]);
const UNSENT = new Set([
  ...["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"],
  ...["DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
  ...["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "CERT_HAS_EXPIRED", "ERR_TLS_CERT_ALTNAME_INVALID"],
]);

// -- errors

/** The base class of this module's errors. */
export class JobQueueError extends Error {
  /**
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** There is no API key in the request, or one that the server doesn't know (401). */
export class Unauthorized extends JobQueueError {}

/** The API key lacks the scope that the request needs (403); `scope` names it, if the server does. */
export class Forbidden extends JobQueueError {
  /**
   * @param {string} message
   * @param {string | null} scope
   */
  constructor(message, scope) {
    super(message);
    this.scope = scope;
  }
}

/** The request is invalid (422); `errors` says where, by JSON pointers, and why. */
export class InvalidSubmission extends JobQueueError {
  /** @param {{pointer: string, detail: string}[]} errors */
  constructor(errors, message = "invalid") {
    super(errors.map(({ pointer, detail }) => `${pointer || "/"}: ${detail}`).join("; ") || message);
    this.errors = errors;
  }
}

/** The server's settings have faults (422), each named in `faults`: a reload changed nothing. */
export class ConfigError extends JobQueueError {
  /** @param {string[]} faults */
  constructor(faults) {
    super(faults.join("\n"));
    this.faults = faults;
  }
}

/** No handler is registered under the submitted type. */
export class UnknownType extends InvalidSubmission {}

/** What was asked for doesn't exist where servers share their jobs: `backend: valkey` (501). */
export class NotInStore extends JobQueueError {}

/** Something else was submitted under this idempotency key (422). */
export class KeyReused extends JobQueueError {}

/** A live job, `jobId`, has the unique value already, and the submission's mode is `reject` (409). */
export class Duplicate extends JobQueueError {
  /** @param {string} jobId */
  constructor(jobId) {
    super(`job ${jobId} is live and has this unique value`);
    this.jobId = jobId;
  }
}

/** The job's state, `state`, forbids the operation (409). */
export class WrongState extends JobQueueError {
  /**
   * @param {string} message
   * @param {string} state
   */
  constructor(message, state) {
    super(message);
    this.state = state;
  }
}

/** No job was ever issued under this id (404). */
export class JobNotFound extends JobQueueError {}

/** The id was issued, but its record is no longer held (410); `reason` is `evicted` or `earlier-run`. */
export class JobGone extends JobQueueError {
  /** @param {string} reason */
  constructor(reason) {
    super(`the job's record is no longer held: ${reason}`);
    this.reason = reason;
  }
}

/** No schedule has this name (404). */
export class ScheduleNotFound extends JobQueueError {}

/** The schedule is defined in the code or in the settings, so a request can't replace or delete it (409). */
export class ScheduleFixed extends JobQueueError {}

/** It is valid, but rejected for now (429, 503): nothing was kept. `retryAfterS` is when to come back, in seconds. */
export class Refused extends JobQueueError {
  /**
   * @param {string} message
   * @param {number} retryAfterS
   */
  constructor(message, retryAfterS) {
    super(message);
    this.retryAfterS = retryAfterS;
  }
}

/** The queue holds as many live jobs as its capacity allows. */
export class QueueFull extends Refused {}

/** The job store is full of live jobs. */
export class StatusesFull extends Refused {}

/** The spool directory holds as many bytes of files as it may. */
export class SpoolFull extends Refused {}

/** The server's journal holds as many bytes as it may. */
export class JournalFull extends Refused {}

/** The server's journal can't be written, so nothing that changes jobs can be promised. */
export class JournalFailed extends Refused {}

/** The store that keeps the jobs doesn't answer. A change may have been made all the same. */
export class StoreUnavailable extends Refused {}

/** The server has too much to do to take more. */
export class Overloaded extends Refused {}

/** The type is in quarantine after consecutive failures, and enough of its jobs wait already. */
export class TypeQuarantined extends Refused {}

/** The server is about to stop, and accepts no more jobs. */
export class Draining extends Refused {}

/** The server has started, and reads its jobs from its journal. */
export class Recovering extends Refused {}

/** This caller has used up its own quota (429). */
export class RateLimited extends Refused {}

/** The job ended without a result; `code` and `reason` are its error's, null for none. */
export class JobFailed extends JobQueueError {
  /** @param {Pick<Job, "state" | "error">} job */
  constructor({ state, error }) {
    super(error ? `${state}: ${error.code}: ${error.message}` : state);
    this.state = state;
    this.code = error ? error.code : null;
    this.reason = error ? error.message : null;
  }
}

/**
 * The job, `jobId`, or the flow, `flowId`, is still live after the time of a wait; `state` is null if its state could not
 * be read.
 */
export class WaitTimeout extends JobQueueError {
  /**
   * @param {string} id
   * @param {string | null} state
   * @param {number} waitedS
   * @param {"job" | "flow"} [kind]
   */
  constructor(id, state, waitedS, kind = "job") {
    super(`${kind} ${id} is still ${state ?? "unread"} after ${waitedS} s`);
    this.jobId = kind === "job" ? id : null;
    this.flowId = kind === "flow" ? id : null;
    this.state = state;
  }
}

/** The server answered with an error of no other class, or with something that isn't this API's. */
export class ErrorAnswer extends JobQueueError {
  /**
   * @param {number} status
   * @param {string} detail
   */
  constructor(status, detail) {
    super(`HTTP ${status}: ${detail}`);
    this.status = status;
    this.detail = detail;
  }
}

/**
 * The server did not answer: the connection broke, it kept silent, or something else answered, such as a proxy.
 *
 * `status` and `retryAfterS` are those of the proxy's answer; null: there was none. In a browser an answer that CORS
 * hides from the page is none, too.
 */
export class NoAnswer extends JobQueueError {
  /**
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(message, options) {
    super(message, options);
    /** @type {number | null} */
    this.status = null;
    /** @type {number | null} */
    this.retryAfterS = null;
  }
}

/** No connection could be made: nothing was sent. Browsers don't tell it apart, so there it is one of the others. */
export class Unreachable extends NoAnswer {}

/**
 * A POST was sent, and no answer of the server came: it may or may not have acted on it.
 *
 * `idempotencyKey` is the key of a submission: submitted again with the same key, and unchanged otherwise, it becomes no
 * second job while the first one's record is held.
 */
export class FateUnknown extends NoAnswer {
  /** @type {string | null} */
  idempotencyKey = null;
}

/** @type {Record<string, typeof Refused>} */
const REFUSALS = {
  "queue-full": QueueFull,
  "statuses-full": StatusesFull,
  "spool-full": SpoolFull,
  "journal-full": JournalFull,
  "journal-failed": JournalFailed,
  "store-unavailable": StoreUnavailable,
  overloaded: Overloaded,
  "type-quarantined": TypeQuarantined,
  draining: Draining,
  recovering: Recovering,
};

// -- the client

/** A client of one server. It keeps no connection of its own, so there is nothing to close. */
export class Client {
  /** @type {string} */
  #url;
  /** @type {Record<string, string>} */
  #headers;
  #timeoutS;
  #retryReadsForS;
  #fetch;

  /**
   * @param {string | URL} [url] `http://` or `https://`, or in a page a path of its own server. A path is the prefix under
   *     which the API is mounted; a user and a password are sent as `Authorization: Basic`. Node: defaults to the variable
   *     `JOBQUEUE_URL`.
   * @param {ClientOptions} [options]
   * @throws {TypeError} There is no URL, or it or the key is malformed; the message doesn't show the key.
   */
  constructor(url, { key, timeoutS = 30, retryReadsForS = 5, headers = {}, fetch = globalThis.fetch } = {}) {
    if (typeof fetch !== "function") throw new TypeError("there is no fetch here: use Node 18 or newer, or give one");
    checkSeconds({ timeoutS, retryReadsForS });
    const address = addressOf(url ?? variable("JOBQUEUE_URL"));
    this.#url = address.url;
    this.#headers = headersOf(headers, address.authorization, key);
    this.#timeoutS = timeoutS;
    this.#retryReadsForS = retryReadsForS;
    this.#fetch = fetch;
  }

  /** The server's URL, without user and password. */
  get url() {
    return this.#url;
  }

  // -- submitting

  /**
   * Submit a job.
   *
   * @param {Submission} submission The document of `POST /v1/jobs`: `{type, args, queue, delay_s, …}`. A `Date` is an instant.
   * @param {SubmitOptions} [options]
   * @returns {Promise<SubmittedJob>} `deduplicated`: this is an earlier submission's job, by its unique value or key.
   * @throws {InvalidSubmission} It is invalid; UnknownType: there is no such handler.
   * @throws {Refused} It was rejected for now, and nothing was kept.
   * @throws {Duplicate | KeyReused}
   * @throws {FateUnknown} It was sent, but no answer came; it may have been accepted. Unreachable: it was not sent.
   */
  async submit(submission, { files, idempotencyKey, retryForS = 0, waitS = 0, signal } = {}) {
    checkSeconds({ retryForS, waitS });
    const encoded = encode(submission);
    const key = idempotencyKey ?? (await newKey());
    /** @type {Record<string, string>} */
    const headers = { "Idempotency-Key": quoted(key), ...(files ? {} : { "Content-Type": "application/json" }) };
    const body = files ? formOf(encoded, files) : encoded;
    const askedS = Math.ceil(Math.min(Math.max(waitS, 0), WAIT_S_MAX));
    /** @type {ClientRequest} */
    let request = { method: "POST", target: "/v1/jobs", headers, body, signal };
    if (askedS > 0) request = { ...request, headers: { ...headers, Prefer: `wait=${askedS}` }, quietS: askedS };
    const patience = new Patience(retryForS);
    /** @type {FateUnknown | null} */
    let unknown = null;
    for (;;) {
      const giveUpAt = now() + (request.afterS ?? 0) + waitS;
      try {
        const answer = await this.#ask(request);
        const job = taken(answer, isJob);
        const submitted = { ...job, deduplicated: answer.headers.get("job-deduplicated") === "true" };
        return await this.#waitedFor(submitted, waitS > 0 ? giveUpAt - now() : 0, signal);
      } catch (failure) {
        if (!(failure instanceof Refused || failure instanceof NoAnswer)) throw failure;
        if (failure instanceof FateUnknown) {
          failure.idempotencyKey = key;
          unknown = failure;
        }
        const afterS = patience.pauseS(failure);
        if (afterS === null) throw unknown ?? failure;
        // It may be the wait that lost the answer: a proxy gave up before the job was over.
        request = unknown === null ? { ...request, afterS } : { ...request, headers, quietS: 0, afterS };
      }
    }
  }

  /**
   * Submit a job, wait for its end, and return its result.
   *
   * @param {Submission} submission As for `submit`.
   * @param {RunOptions} [options]
   * @returns {Promise<any>}
   * @throws {JobFailed} It failed, was cancelled, or expired; `code` and `reason` say why.
   * @throws {WaitTimeout} It is still live after `waitS`.
   * @throws {InvalidSubmission | Refused | Duplicate | KeyReused | FateUnknown | Unreachable} As from `submit`.
   * @throws {JobGone | NoAnswer} As from `wait`.
   */
  async run(submission, options = {}) {
    const { onProgress, waitS = Infinity, retryForS = 0, signal } = options;
    checkSeconds({ waitS, retryForS });
    const giveUpAt = now() + waitS;
    const job = await this.submit(submission, { ...options, waitS: onProgress ? 0 : Math.min(waitS, WAIT_S_MAX) });
    if (onProgress) await this.#tell(job.id, onProgress, giveUpAt, signal);
    if (!LIVE.has(job.state)) return resultOf(job);
    const timeoutS = Math.max(0, giveUpAt - now());
    return resultOf(await this.wait(job.id, { timeoutS, retryForS: Math.max(retryForS, RETRY_FOR_S), signal }));
  }

  /**
   * Submit jobs, up to a thousand in a request; each is accepted or rejected by itself.
   *
   * @param {Iterable<Submission>} submissions
   * @param {{retryForS?: number} & CallOptions} [options]
   * @returns {Promise<(string | JobQueueError)[]>} For each, in order, its job's id, or the error that `submit` would throw.
   */
  async submitMany(submissions, { retryForS = 0, signal } = {}) {
    checkSeconds({ retryForS });
    const encoded = Array.from(submissions, encode);
    /** @type {(string | JobQueueError)[]} */
    const outcomes = new Array(encoded.length);
    const patience = new Patience(retryForS);
    /** @type {JobQueueError | null} */
    let denial = null;
    let left = encoded.map((_, n) => n);
    let afterS = 0;
    while (left.length > 0) {
      for (const portion of portions(left, encoded)) {
        /** @type {(string | JobQueueError)[] | JobQueueError} */
        const found = denial ?? (await this.#batch(portion.map((n) => encoded[n]), afterS, signal));
        if (found instanceof Unauthorized || found instanceof Forbidden) denial = found; // of the other portions, too
        portion.forEach((n, at) => (outcomes[n] = Array.isArray(found) ? found[at] : found));
        afterS = 0;
      }
      const again = [];
      for (const n of left) {
        const outcome = outcomes[n];
        if (!(outcome instanceof Refused || outcome instanceof Unreachable)) continue;
        const pauseS = patience.pauseS(outcome);
        if (pauseS === null) continue;
        afterS = Math.max(afterS, pauseS);
        again.push(n);
      }
      left = again;
    }
    return outcomes;
  }

  // -- reading and waiting

  /**
   * Ask for a job's state by HEAD, the cheapest question.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<JobStatus>}
   * @throws {JobNotFound | JobGone}
   */
  async status(id, { signal } = {}) {
    let answer = await this.#read({ method: "HEAD", target: jobPath(id), signal });
    if (answer.status !== 200 && answer.status !== 202) {
      answer = await this.#read({ method: "GET", target: jobPath(id), signal }); // only a body has the reason
    }
    const { status, headers } = answer;
    if (status !== 200 && status !== 202) throw errorIn(answer);
    const state = headers.get("job-state") ?? "";
    if (!isState(state)) throw new ErrorAnswer(status, "not a job status: the header Job-State is missing");
    const retryAfterS = retryAfterOf(headers);
    return { code: status, state, over: !LIVE.has(state), etag: headers.get("etag"), retryAfterS };
  }

  /**
   * Return a job's document.
   *
   * @param {string} id
   * @param {{include?: MemberOnRequest[]} & CallOptions} [options] `include`: members that the document has on request only.
   * @returns {Promise<JobWithMembers>}
   * @throws {JobNotFound | JobGone}
   */
  async get(id, { include = [], signal } = {}) {
    const query = include.length > 0 ? `?include=${include.map(encodeURIComponent).join(",")}` : "";
    return decoded(await this.#read({ method: "GET", target: jobPath(id) + query, signal }), isJob);
  }

  /**
   * Return a document for each id, or the error that `get` would throw.
   *
   * @param {Iterable<string>} ids
   * @param {CallOptions} [options]
   * @returns {Promise<Map<string, Job | JobQueueError>>}
   */
  async getMany(ids, { signal } = {}) {
    const wanted = [...new Set(ids)];
    /** @type {Map<string, Job | JobQueueError>} */
    const found = new Map();
    for (let start = 0; start < wanted.length; start += IDS_MAX) {
      const query = wanted.slice(start, start + IDS_MAX).map(encodeURIComponent).join(",");
      const answer = await this.#read({ method: "GET", target: `/v1/jobs?ids=${query}`, signal });
      for (const each of decoded(answer, hasList("jobs")).jobs) {
        found.set(each.id, each.problem ? errorOf(each.status, each.problem) : each);
      }
    }
    return found;
  }

  /**
   * Return a page of the jobs that match, newest first.
   *
   * @param {ListFilter} [filter]
   * @param {CallOptions} [options]
   * @returns {Promise<JobPage>}
   */
  async list(filter = {}, { signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: `/v1/jobs${queryOf(filter)}`, signal }), hasList("jobs"));
  }

  /**
   * Yield all jobs that match, newest first, page by page.
   *
   * @param {ListFilter} [filter]
   * @param {CallOptions} [options]
   * @returns {AsyncGenerator<Job, void, undefined>}
   */
  async *iterAll(filter = {}, { signal } = {}) {
    const read = (/** @type {string | undefined} */ cursor) => this.list({ ...filter, cursor }, { signal });
    yield* entriesOfAll(read, (page) => page.jobs, filter.cursor);
  }

  /**
   * Wait for a job's end by long polls; poll at the suggested interval while the server doesn't wait.
   *
   * @param {string} id
   * @param {{timeoutS?: number, retryForS?: number} & CallOptions} [options] `retryForS`: how long to go on while no answer
   *     comes, or only a proxy's; defaults to 30.
   * @returns {Promise<Job>} It is terminal.
   * @throws {WaitTimeout} It is still live after `timeoutS`.
   * @throws {JobNotFound | JobGone}
   * @throws {NoAnswer} None came for `retryForS`.
   */
  async wait(id, { timeoutS = Infinity, retryForS = RETRY_FOR_S, signal } = {}) {
    checkSeconds({ timeoutS, retryForS });
    const job = await this.#untilOver(jobPath(id), isJob, timeoutS, retryForS, signal, null);
    if (job === null || LIVE.has(job.state)) throw new WaitTimeout(id, job && job.state, timeoutS);
    return job;
  }

  /**
   * Return a job's JSON result. Integers beyond 2^53 lose their last digits, as by any `JSON.parse`.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<any>}
   * @throws {JobFailed} The job failed, was cancelled, or expired.
   * @throws {WrongState} It is live.
   * @throws {TypeError} The result is a file: `download` it.
   */
  async result(id, { signal } = {}) {
    const answer = await this.#read({ method: "GET", target: `${jobPath(id)}/result`, signal });
    if (answer.status !== 200) throw await this.#whyNoResult(id, answer, signal);
    const mediaType = answer.headers.get("content-type") ?? "";
    if (mediaType.split(";")[0].trim() !== "application/json") {
      throw new TypeError(`the result of job ${id} is a file of ${mediaType || "no media type"}: use download()`);
    }
    return decoded(answer, () => true);
  }

  /**
   * Return a job's result, JSON or file, as a `Response` with its body still unread: `await response.blob()`, or read
   * `response.body`, a stream, which the signal ends, too.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<Response>}
   * @throws {JobFailed | WrongState} As from `result`.
   */
  async download(id, { signal } = {}) {
    /** @type {ClientRequest} */
    const request = { method: "GET", target: `${jobPath(id)}/result`, signal };
    const response = await this.#persistently(request, (again) => this.#open(again));
    if (response instanceof Response) return response;
    throw await this.#whyNoResult(id, response, signal);
  }

  /**
   * Yield the events of a job until it is terminal; without an id, those of all jobs, without end.
   *
   * A broken stream is resumed after the last event received. Where the server doesn't hold what follows any more, the
   * stream of one job goes on with its state, and that of all jobs with an event `reset`: read the jobs again.
   *
   * @param {string | null} [id]
   * @param {{lastEventId?: string, retryForS?: number} & CallOptions} [options] `lastEventId`: begin after this event.
   *     `retryForS`: how long to try to reopen a stream; defaults to 30.
   * @returns {AsyncGenerator<JobEvent, void, undefined>}
   * @throws {JobNotFound | JobGone}
   * @throws {Refused | NoAnswer} No stream could be opened for `retryForS`.
   */
  async *events(id = null, { lastEventId = "", retryForS = RETRY_FOR_S, signal } = {}) {
    checkSeconds({ retryForS });
    const target = id === null ? "/v1/events" : `${jobPath(id)}/events`;
    for await (const heard of this.#heard(target, { lastEventId, retryForS, signal })) {
      yield heard;
      if (heard.over && id !== null) return;
    }
  }

  /**
   * Yield the state and the progress of a job at each of its changes, until it is terminal.
   *
   * @param {string} id
   * @param {{retryForS?: number} & CallOptions} [options] As for `events`.
   * @returns {AsyncGenerator<JobProgress, void, undefined>}
   * @throws {JobNotFound | JobGone | Refused | NoAnswer} As from `events`.
   */
  async *progress(id, options = {}) {
    for await (const { data, state } of this.events(id, options)) {
      if (state === null) continue;
      const { fraction = null, note = null } = data.progress ?? {};
      yield { id, state, attempt: data.attempt, fraction, note };
    }
  }

  // -- topics

  /**
   * Publish data: one job for each subscriber of the topic, all of them or none.
   *
   * @param {string} topic Tokens joined by dots, such as `order.paid`.
   * @param {any} [data] Whatever JSON can say. Defaults to null.
   * @param {{idempotencyKey?: string, retryForS?: number} & CallOptions} [options] As for `submit`: published again under
   *     the key, the jobs are the same.
   * @returns {Promise<Publication & {deduplicated: boolean}>} `deduplicated`: these are the jobs of an earlier publish.
   * @throws {InvalidSubmission} The data does not fit a subscriber.
   * @throws {Refused} There is no slot for each of the jobs, and none was made.
   * @throws {KeyReused | FateUnknown | Unreachable} As from `submit`.
   */
  async publish(topic, data = null, { idempotencyKey, retryForS = 0, signal } = {}) {
    const target = `/v1/topics/${encodeURIComponent(topic)}`;
    return this.#keyed(target, encode({ data }), hasList("jobs"), { idempotencyKey, retryForS, signal });
  }

  /**
   * Return the subscribers and listeners by their patterns, with counts.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Topics>}
   */
  async topics({ signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: "/v1/topics", signal }), hasList("subscribers"));
  }

  /**
   * Yield what is published to the topics that match, from now on, without end, and at most once.
   *
   * A broken stream is resumed after the last event received. Where the server doesn't hold what follows any more, it goes
   * on with an event `reset`.
   *
   * @param {string} pattern Such as `order.paid`, `order.*` or `order.>`.
   * @param {{lastEventId?: string, retryForS?: number} & CallOptions} [options] As for `events`.
   * @returns {AsyncGenerator<TopicEvent, void, undefined>}
   * @throws {Refused | NoAnswer} No stream could be opened for `retryForS`.
   */
  async *listen(pattern, { lastEventId = "", retryForS = RETRY_FOR_S, signal } = {}) {
    checkSeconds({ retryForS });
    const target = `/v1/topics/${encodeURIComponent(pattern)}/events`;
    for await (const { id, name, data: told } of this.#heard(target, { lastEventId, retryForS, signal })) {
      const { topic = null, data = null, at = null, omitted_bytes: omittedBytes = null } = told;
      yield { id, name, topic, data, at, omittedBytes };
    }
  }

  // -- flows

  /**
   * Submit a graph of jobs: all of them are accepted, or none.
   *
   * @param {Graph} graph The document of `POST /v1/flows`: `{jobs: [{name, type, args, after: [names], …}, …]}`; `chain` and
   *     `group` make it.
   * @param {{idempotencyKey?: string, retryForS?: number} & CallOptions} [options] As for `submit`, for the whole graph.
   * @returns {Promise<Flow & {deduplicated: boolean}>} `deduplicated`: this is an earlier submission's flow, by its key.
   * @throws {InvalidSubmission} A job or the graph has a fault; `errors` has its place, such as `/jobs/2/after/0`.
   * @throws {Refused} There is no slot for each of the jobs, and none was made.
   * @throws {UnknownType | KeyReused | FateUnknown | Unreachable} As from `submit`.
   */
  async submitFlow(graph, { idempotencyKey, retryForS = 0, signal } = {}) {
    return this.#keyed("/v1/flows", encode(graph), isFlow, { idempotencyKey, retryForS, signal });
  }

  /**
   * Return a flow: its state, its counts and its graph.
   *
   * @param {string} id
   * @param {{includeJobs?: boolean, limit?: number, cursor?: string} & CallOptions} [options] `includeJobs`: each of its
   *     jobs has its document, `job`. `limit`: jobs at most, 1,000 by default. `cursor`: the `next_cursor` of a document
   *     before, for the jobs after those.
   * @returns {Promise<Flow>}
   * @throws {JobNotFound | JobGone}
   */
  async flow(id, { includeJobs = false, limit, cursor, signal } = {}) {
    const target = `${flowPath(id)}${queryOf({ include: includeJobs ? "jobs" : undefined, limit, cursor })}`;
    return decoded(await this.#read({ method: "GET", target, signal }), isFlow);
  }

  /**
   * Yield all jobs of a flow, page by page, parents before their children.
   *
   * @param {string} id
   * @param {{includeJobs?: boolean, limit?: number} & CallOptions} [options] As for `flow`; `limit`: jobs on a page.
   * @returns {AsyncGenerator<Flow["jobs"][number], void, undefined>}
   * @throws {JobNotFound | JobGone}
   */
  async *iterFlowJobs(id, { includeJobs = false, limit, signal } = {}) {
    const read = (/** @type {string | undefined} */ cursor) => this.flow(id, { includeJobs, limit, cursor, signal });
    yield* entriesOfAll(read, (page) => page.jobs);
  }

  /**
   * Return a page of the flows in a state, or of all, newest first.
   *
   * @param {FlowFilter} [filter]
   * @param {CallOptions} [options]
   * @returns {Promise<FlowPage>}
   */
  async flows(filter = {}, { signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: `/v1/flows${queryOf(filter)}`, signal }), hasList("flows"));
  }

  /**
   * Yield all flows in a state, or all, newest first, page by page.
   *
   * @param {FlowFilter} [filter]
   * @param {CallOptions} [options]
   * @returns {AsyncGenerator<FlowSummary, void, undefined>}
   */
  async *iterFlows(filter = {}, { signal } = {}) {
    const read = (/** @type {string | undefined} */ cursor) => this.flows({ ...filter, cursor }, { signal });
    yield* entriesOfAll(read, (page) => page.flows, filter.cursor);
  }

  /**
   * Yield the events of a flow's jobs, until all have ended. The first and the last event have the name `flow`, and the
   * flow's document as `data`, at the end without jobs. A broken stream is opened again, and begins with the flow.
   *
   * @param {string} id
   * @param {{retryForS?: number} & CallOptions} [options] As for `events`.
   * @returns {AsyncGenerator<JobEvent, void, undefined>}
   * @throws {JobNotFound | JobGone}
   * @throws {Refused | NoAnswer} No stream could be opened for `retryForS`.
   */
  async *flowEvents(id, { retryForS = RETRY_FOR_S, signal } = {}) {
    checkSeconds({ retryForS });
    for await (const heard of this.#heard(`${flowPath(id)}/events`, { lastEventId: "", retryForS, signal })) {
      yield heard;
      if (heard.name === "flow" && heard.over) return;
    }
  }

  /**
   * Wait by long polls until all jobs of a flow have ended.
   *
   * @param {string} id
   * @param {{timeoutS?: number, retryForS?: number} & CallOptions} [options] As for `wait`.
   * @returns {Promise<Flow>}
   * @throws {WaitTimeout} It still runs after `timeoutS`.
   * @throws {JobNotFound | JobGone}
   * @throws {NoAnswer} None came for `retryForS`.
   */
  async waitFlow(id, { timeoutS = Infinity, retryForS = RETRY_FOR_S, signal } = {}) {
    checkSeconds({ timeoutS, retryForS });
    const flow = await this.#untilOver(flowPath(id), isFlow, timeoutS, retryForS, signal, null);
    if (flow === null || LIVE.has(flow.state)) throw new WaitTimeout(id, flow && flow.state, timeoutS, "flow");
    return flow;
  }

  /**
   * Cancel all live jobs of a flow.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<Flow>}
   * @throws {WrongState} It has ended.
   */
  async cancelFlow(id, options) {
    return this.#act(`${flowPath(id)}:cancel`, options);
  }

  /**
   * Run a flow again from what has not succeeded.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<Flow>}
   * @throws {WrongState} It runs, or has succeeded.
   * @throws {Refused} There are not slots for all of it now.
   */
  async retryFlow(id, options) {
    return this.#act(`${flowPath(id)}:retry`, options);
  }

  // -- schedules

  /**
   * Return all schedules, by name.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Schedule[]>}
   */
  async schedules({ signal } = {}) {
    /** @type {Schedule[]} */
    const found = [];
    const read = async (/** @type {string | undefined} */ cursor) => {
      const target = `/v1/schedules${queryOf({ limit: SCHEDULES_MAX, cursor })}`;
      return decoded(await this.#read({ method: "GET", target, signal }), hasList("schedules"));
    };
    for await (const schedule of entriesOfAll(read, (page) => page.schedules)) found.push(schedule);
    return found;
  }

  /**
   * Return one schedule, with its next instants.
   *
   * @param {string} name
   * @param {CallOptions} [options]
   * @returns {Promise<Schedule>}
   * @throws {ScheduleNotFound}
   */
  async schedule(name, { signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: schedulePath(name), signal }), isObject);
  }

  /**
   * Add a schedule, or replace it; its counts and its pause stay.
   *
   * @param {string} name
   * @param {ScheduleSubmission} schedule The document of `PUT /v1/schedules/{name}`: `{type, args, every_s, …}`, or `cron`
   *     in place of `every_s`.
   * @param {CallOptions} [options]
   * @returns {Promise<Schedule>}
   * @throws {InvalidSubmission | ScheduleFixed | NotInStore}
   */
  async putSchedule(name, schedule, { signal } = {}) {
    const headers = { "Content-Type": "application/json" };
    const body = encode(schedule);
    return decoded(await this.#ask({ method: "PUT", target: schedulePath(name), headers, body, signal }), isObject);
  }

  /**
   * Delete a schedule; its jobs stay.
   *
   * @param {string} name
   * @param {CallOptions} [options]
   * @returns {Promise<void>}
   * @throws {ScheduleNotFound | ScheduleFixed | NotInStore}
   */
  async deleteSchedule(name, { signal } = {}) {
    good(await this.#ask({ method: "DELETE", target: schedulePath(name), signal }));
  }

  /**
   * Submit a schedule's job now, beside its ticks.
   *
   * @param {string} name
   * @param {CallOptions} [options]
   * @returns {Promise<Job>}
   * @throws {Duplicate} It skips while its last job is live.
   * @throws {ScheduleNotFound | Refused}
   */
  async runSchedule(name, options) {
    return this.#act(`${schedulePath(name)}:run`, options);
  }

  /**
   * Have a schedule give no ticks until it is resumed.
   *
   * @param {string} name
   * @param {CallOptions} [options]
   * @returns {Promise<Schedule>}
   * @throws {ScheduleNotFound | NotInStore}
   */
  async pauseSchedule(name, options) {
    return this.#act(`${schedulePath(name)}:pause`, options);
  }

  /**
   * Have a paused schedule give ticks again, and those since the pause that its `catch_up` says.
   *
   * @param {string} name
   * @param {CallOptions} [options]
   * @returns {Promise<Schedule>}
   * @throws {ScheduleNotFound | NotInStore}
   */
  async resumeSchedule(name, options) {
    return this.#act(`${schedulePath(name)}:resume`, options);
  }

  // -- steering

  /**
   * Cancel a live job; its document says `running` as long as its handler is being stopped.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<Job>}
   * @throws {WrongState} It is terminal.
   */
  async cancel(id, options) {
    return this.#act(`${jobPath(id)}:cancel`, options);
  }

  /**
   * Retry a failed job, with all of its attempts.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<Job>}
   * @throws {WrongState} It has not failed.
   * @throws {Refused} There is no slot for it now.
   */
  async retry(id, options) {
    return this.#act(`${jobPath(id)}:retry`, options);
  }

  /**
   * End a delayed job's delay.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<Job>}
   * @throws {WrongState} It has none.
   */
  async runNow(id, options) {
    return this.#act(`${jobPath(id)}:run`, options);
  }

  /**
   * Delete a terminal job, and its files.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<void>}
   * @throws {WrongState} It is live.
   */
  async delete(id, { signal } = {}) {
    good(await this.#ask({ method: "DELETE", target: jobPath(id), signal }));
  }

  /**
   * Retry the failed jobs that match; at least one filter is required, here and in the next three.
   *
   * @param {BulkFilter} filter
   * @param {CallOptions} [options]
   * @returns {Promise<BulkResult>}
   */
  async retryAll(filter, options) {
    return this.#bulk("retry", filter, options);
  }

  /**
   * Cancel the live jobs that match.
   *
   * @param {BulkFilter} filter
   * @param {CallOptions} [options]
   * @returns {Promise<BulkResult>}
   */
  async cancelAll(filter, options) {
    return this.#bulk("cancel", filter, options);
  }

  /**
   * Delete the terminal jobs that match.
   *
   * @param {BulkFilter} filter
   * @param {CallOptions} [options]
   * @returns {Promise<BulkResult>}
   */
  async deleteAll(filter, options) {
    return this.#bulk("delete", filter, options);
  }

  /**
   * Let the delayed jobs that match, and those that wait for their next attempt, start now.
   *
   * @param {BulkFilter} filter
   * @param {CallOptions} [options]
   * @returns {Promise<BulkResult>}
   */
  async runAllNow(filter, options) {
    return this.#bulk("run", filter, options);
  }

  /**
   * Return the document of each queue.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Queue[]>}
   */
  async queues({ signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: "/v1/queues", signal }), hasList("queues")).queues;
  }

  /**
   * Return what can be submitted: each type with its options, the JSON Schema of its arguments, and its counts.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<JobType[]>}
   */
  async types({ signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: "/v1/types", signal }), hasList("types")).types;
  }

  /**
   * Return what queues or types did, in points of one length.
   *
   * @param {StatsQuery} [query]
   * @param {CallOptions} [options]
   * @returns {Promise<Stats>}
   */
  async stats(query = {}, { signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: `/v1/stats${queryOf(query)}`, signal }), isObject);
  }

  /**
   * Return the state of the server. It needs the scope `admin`.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Server>}
   */
  async server({ signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: "/v1/server", signal }), isObject);
  }

  /**
   * Return what is wrong now, the worst first: each with its severity, a sentence, its cause, what to do, since when.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Finding[]>}
   */
  async findings({ signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: "/v1/findings", signal }), hasList("findings")).findings;
  }

  /**
   * Return the receivers of webhooks: state, counts and the latest attempt of each.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Webhook[]>}
   */
  async webhooks({ signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: "/v1/webhooks", signal }), hasList("webhooks")).webhooks;
  }

  /**
   * Return the latest lines of the server's log, newest first. It needs the scope `admin`.
   *
   * @param {LogQuery} [query]
   * @param {CallOptions} [options]
   * @returns {Promise<ServerLog>}
   * @throws {ErrorAnswer} 409: the API is mounted in an application, which has a log of its own.
   */
  async serverLog(query = {}, { signal } = {}) {
    const target = `/v1/server/log${queryOf(query)}`;
    return decoded(await this.#read({ method: "GET", target, signal }), hasList("lines"));
  }

  /**
   * Return the server's settings in effect, each with its default and source. It needs the scope `admin`.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<ServerSettings>}
   */
  async serverSettings({ signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: "/v1/server/settings", signal }), hasList("settings"));
  }

  /**
   * Return one type that can be submitted.
   *
   * @param {string} name
   * @param {CallOptions} [options]
   * @returns {Promise<JobType>}
   * @throws {ErrorAnswer} 404: there is no such type.
   */
  async jobType(name, { signal } = {}) {
    const target = `/v1/types/${encodeURIComponent(name)}`;
    return decoded(await this.#read({ method: "GET", target, signal }), isObject);
  }

  /**
   * End the quarantine of a type, if it is in one: its waiting jobs start.
   *
   * @param {string} name
   * @param {CallOptions} [options]
   * @returns {Promise<JobType>}
   * @throws {ErrorAnswer} 404: there is no such type.
   */
  async releaseType(name, options) {
    return this.#act(`/v1/types/${encodeURIComponent(name)}:release`, options);
  }

  /**
   * Return the failed jobs that match, in groups by type, error and masked message.
   *
   * @param {FailureFilter} [filter]
   * @param {CallOptions} [options]
   * @returns {Promise<Failures>}
   */
  async failures(filter = {}, { signal } = {}) {
    const target = `/v1/failures${queryOf(filter)}`;
    return decoded(await this.#read({ method: "GET", target, signal }), hasList("groups"));
  }

  /**
   * Return one group of failures, with what the arguments of its newest jobs have in common.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<Failure>}
   * @throws {ErrorAnswer} 404: no failed job is in it.
   */
  async failure(id, { signal } = {}) {
    const target = `/v1/failures/${encodeURIComponent(id)}`;
    return decoded(await this.#read({ method: "GET", target, signal }), isObject);
  }

  /**
   * Return the callers that use most, and what each uses of its limits. It needs the scope `admin`.
   *
   * @param {CallersQuery} [query]
   * @param {CallOptions} [options]
   * @returns {Promise<Callers>}
   */
  async callers(query = {}, { signal } = {}) {
    return decoded(await this.#read({ method: "GET", target: `/v1/callers${queryOf(query)}`, signal }), hasList("callers"));
  }

  /**
   * Have every request of a caller rejected for a while. It needs the scope `admin`.
   *
   * @param {string} name
   * @param {number} forS Seconds, 1 to 7 days.
   * @param {CallOptions} [options]
   * @returns {Promise<Caller>}
   * @throws {InvalidSubmission} It is the caller of this request, or the time is out of bounds.
   * @throws {ErrorAnswer} 404: no such caller.
   */
  async blockCaller(name, forS, { signal } = {}) {
    const target = `/v1/callers/${encodeURIComponent(name)}:block`;
    const headers = { "Content-Type": "application/json" };
    return decoded(await this.#ask({ method: "POST", target, headers, body: encode({ for_s: forS }), signal }), isObject);
  }

  /**
   * End the block of a caller. It needs the scope `admin`.
   *
   * @param {string} name
   * @param {CallOptions} [options]
   * @returns {Promise<Caller>}
   * @throws {ErrorAnswer} 404: no such caller.
   */
  async unblockCaller(name, { signal } = {}) {
    const target = `/v1/callers/${encodeURIComponent(name)}:unblock`;
    return decoded(await this.#ask({ method: "POST", target, signal }), isObject);
  }

  /**
   * Return the types of problems that the server answers with.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<ProblemKind[]>}
   */
  async problems({ signal } = {}) {
    const headers = { Accept: "application/json" };
    return decoded(await this.#read({ method: "GET", target: "/problems", headers, signal }), hasList("problems")).problems;
  }

  /**
   * Have the server read its settings again. It needs the scope `admin`, as the next two do.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Reloaded>} What has changed, and what needs a restart.
   * @throws {ConfigError} The settings have faults: nothing was changed.
   */
  async reload(options) {
    return this.#act("/v1/server:reload", options);
  }

  /**
   * Have the server stop, as SIGTERM does.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Drained>} How much there is to do.
   */
  async drain(options) {
    return this.#act("/v1/server:drain", options);
  }

  /**
   * Change the minimum level of the server's log, until the next reload or a restart.
   *
   * @param {"debug" | "info" | "warning" | "error"} level
   * @param {CallOptions} [options]
   * @returns {Promise<Server>}
   */
  async setLogLevel(level, { signal } = {}) {
    const headers = { "Content-Type": "application/json" };
    const body = encode({ log_level: level });
    return decoded(await this.#ask({ method: "PATCH", target: "/v1/server", headers, body, signal }), isObject);
  }

  /**
   * Pause a queue: more jobs are accepted, and running ones go on.
   *
   * @param {string} name
   * @param {CallOptions & { reason?: string, forS?: number }} [options] `reason` is shown with the queue; after `forS`
   *   seconds it resumes by itself.
   * @returns {Promise<Queue>}
   * @throws {ErrorAnswer} 404: there is no such queue.
   */
  async pause(name, { signal, reason, forS } = {}) {
    const headers = { "Content-Type": "application/json" };
    const target = `${queuePath(name)}:pause`;
    const body = encode({ reason, for_s: forS });
    return decoded(await this.#ask({ method: "POST", target, headers, body, signal }), isObject);
  }

  /**
   * Resume a paused queue.
   *
   * @param {string} name
   * @param {CallOptions} [options]
   * @returns {Promise<Queue>}
   */
  async resume(name, options) {
    return this.#act(`${queuePath(name)}:resume`, options);
  }

  /**
   * Change a queue while it runs; no job is lost.
   *
   * @param {string} name
   * @param {QueueChange} changes
   * @param {CallOptions} [options]
   * @returns {Promise<Queue>}
   * @throws {InvalidSubmission} A value is out of bounds.
   */
  async changeQueue(name, changes, { signal } = {}) {
    const headers = { "Content-Type": "application/json" };
    const body = encode(changes);
    return decoded(await this.#ask({ method: "PATCH", target: queuePath(name), headers, body, signal }), isObject);
  }

  /**
   * Forecast a queue under other settings and loads, on its measured arrivals and run times. It takes some seconds.
   *
   * @param {string} name
   * @param {SimulationRequest} [question]
   * @param {CallOptions} [options]
   * @returns {Promise<Forecast>}
   * @throws {ErrorAnswer} 409: too little was measured.
   * @throws {Refused} Another simulation runs.
   */
  async simulateQueue(name, question = {}, { signal } = {}) {
    const headers = { "Content-Type": "application/json" };
    const target = `${queuePath(name)}:simulate`;
    const body = encode(question);
    return decoded(await this.#ask({ method: "POST", target, headers, body, quietS: SIMULATION_S, signal }), isObject);
  }

  // -- parts of calls

  /**
   * @param {string} target
   * @param {CallOptions} [options]
   */
  async #act(target, { signal } = {}) {
    return decoded(await this.#ask({ method: "POST", target, signal }), isObject);
  }

  /**
   * Send JSON by a POST under an idempotency key, repeated for `retryForS` after a rejection or a lost answer.
   *
   * @param {string} target
   * @param {string} body
   * @param {(found: any) => boolean} check
   * @param {{idempotencyKey?: string, retryForS: number} & CallOptions} options
   * @returns {Promise<any>} The document, with `deduplicated`.
   */
  async #keyed(target, body, check, { idempotencyKey, retryForS, signal }) {
    checkSeconds({ retryForS });
    const key = idempotencyKey ?? (await newKey());
    const headers = { "Idempotency-Key": quoted(key), "Content-Type": "application/json" };
    /** @type {ClientRequest} */
    let request = { method: "POST", target, headers, body, signal };
    const patience = new Patience(retryForS);
    /** @type {FateUnknown | null} */
    let unknown = null;
    for (;;) {
      try {
        const answer = await this.#ask(request);
        return { ...taken(answer, check), deduplicated: answer.headers.get("job-deduplicated") === "true" };
      } catch (failure) {
        if (!(failure instanceof Refused || failure instanceof NoAnswer)) throw failure;
        if (failure instanceof FateUnknown) {
          failure.idempotencyKey = key;
          unknown = failure;
        }
        const afterS = patience.pauseS(failure);
        if (afterS === null) throw unknown ?? failure;
        request = { ...request, afterS };
      }
    }
  }

  /**
   * @param {"retry" | "cancel" | "delete" | "run"} action
   * @param {BulkFilter} filter
   * @param {CallOptions} [options]
   */
  async #bulk(action, filter, { signal } = {}) {
    const headers = { "Content-Type": "application/json" };
    const body = encode(filter);
    return decoded(await this.#ask({ method: "POST", target: `/v1/jobs:${action}`, headers, body, signal }), isObject);
  }

  /**
   * Send one batch; return its outcomes, or the one error of all.
   *
   * @param {string[]} encoded
   * @param {number} afterS
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<(string | JobQueueError)[] | JobQueueError>}
   */
  async #batch(encoded, afterS, signal) {
    const body = `{"jobs":[${encoded.join(",")}]}`;
    const headers = { "Content-Type": "application/json" };
    try {
      const answer = await this.#ask({ method: "POST", target: "/v1/jobs:batch", headers, body, afterS, signal });
      const { jobs } = taken(answer, hasList("jobs"));
      if (jobs.length !== encoded.length) {
        throw new ErrorAnswer(answer.status, `${jobs.length} results for ${encoded.length} jobs`);
      }
      return jobs.map((/** @type {any} */ each) => (each.problem ? errorOf(each.status, each.problem) : each.id));
    } catch (failure) {
      if (failure instanceof JobQueueError) return failure;
      throw failure;
    }
  }

  /**
   * Return an accepted job once it is terminal, or as it is after `leftS`; its id is never lost.
   *
   * @param {SubmittedJob} job
   * @param {number} leftS
   * @param {AbortSignal | undefined} signal
   */
  async #waitedFor(job, leftS, signal) {
    if (leftS <= 0 || !LIVE.has(job.state)) return job;
    try {
      const later = await this.#untilOver(jobPath(job.id), isJob, leftS, RETRY_FOR_S, signal, job);
      return later === null ? job : { ...later, deduplicated: job.deduplicated };
    } catch (failure) {
      if (failure instanceof JobQueueError) return job;
      throw failure;
    }
  }

  /**
   * Wait for the end of a job or a flow; return its newest document, terminal or not, and null if it could not be read in
   * time.
   *
   * A wait that a proxy cut off is repeated at half its length.
   *
   * @template {{state: JobState, poll_after_ms?: number | null}} T
   * @param {string} target
   * @param {(found: any) => found is T} check
   * @param {number} timeoutS
   * @param {number} retryForS
   * @param {AbortSignal | undefined} signal
   * @param {T | null} known The latest document.
   * @returns {Promise<T | null>}
   */
  async #untilOver(target, check, timeoutS, retryForS, signal, known) {
    const giveUpAt = now() + timeoutS;
    let [latest, etag, afterS, pauseS, waitSMax] = [known, "", 0, PAUSE_S, WAIT_S_MAX];
    /** @type {Patience | null} */
    let patience = null;
    for (;;) {
      const waitS = Math.floor(Math.max(0, Math.min(waitSMax, giveUpAt - now() - afterS + SLACK_S)));
      /** @type {Record<string, string>} */
      const headers = { ...(waitS ? { Prefer: `wait=${waitS}` } : {}), ...(etag ? { "If-None-Match": etag } : {}) };
      const askedAt = now() + afterS;
      let atOnce = false;
      try {
        const answer = await this.#ask({ method: "GET", target, headers, afterS, quietS: waitS, signal });
        patience = null;
        if (answer.status === 304) {
          pauseS = retryAfterOf(answer.headers) ?? pauseS;
        } else {
          const found = /** @type {T} */ (decoded(answer, check));
          latest = found;
          if (!LIVE.has(found.state)) return found;
          etag = answer.headers.get("etag") ?? "";
          const pollAfterMs = found.poll_after_ms ?? null;
          pauseS = pauseOf(pollAfterMs === null ? null : pollAfterMs / 1000) ?? retryAfterOf(answer.headers) ?? PAUSE_S;
        }
        atOnce = waitedOut(answer.headers.get("preference-applied") ?? "", now() - askedAt);
      } catch (failure) {
        if (failure instanceof NoAnswer) {
          patience = patience ?? new Patience(retryForS);
          const askedS = patience.pauseS(failure);
          if (askedS === null) throw failure;
          pauseS = askedS;
          waitSMax = Math.max(1, Math.floor(waitSMax / 2));
        } else if (failure instanceof Refused) {
          patience = null;
          pauseS = failure.retryAfterS; // the server is too busy to tell
        } else throw failure;
      }
      const leftS = giveUpAt - now();
      if (leftS <= 0) return latest;
      afterS = atOnce ? 0 : Math.min(Math.max(PAUSE_S_MIN, pauseS), leftS);
    }
  }

  /**
   * Call `onProgress` for each change of a job, until it is terminal, `giveUpAt` is over, or no stream can be had: what
   * follows needs none.
   *
   * @param {string} id
   * @param {(progress: JobProgress) => void} onProgress
   * @param {number} giveUpAt
   * @param {AbortSignal | undefined} signal
   */
  async #tell(id, onProgress, giveUpAt, signal) {
    const timeUp = new Carrier(giveUpAt - now(), signal);
    try {
      for await (const each of this.progress(id, { retryForS: PAUSE_S, signal: timeUp.signal })) onProgress(each);
    } catch (failure) {
      signal?.throwIfAborted();
      if (!timeUp.silent && !(failure instanceof Refused || failure instanceof NoAnswer)) throw failure;
    } finally {
      timeUp.close();
    }
  }

  /**
   * Return why there is no result.
   *
   * @param {string} id
   * @param {ServerAnswer} answer
   * @param {AbortSignal | undefined} signal
   */
  async #whyNoResult(id, answer, signal) {
    const error = errorIn(answer);
    if (!(error instanceof WrongState) || LIVE.has(error.state)) return error;
    const job = await this.get(id, { signal });
    return job.state === "succeeded" || LIVE.has(job.state) ? error : new JobFailed(job);
  }

  // -- carrying

  /**
   * Yield the events of a stream, reopened whenever it breaks; it ends where the server says that it is over.
   *
   * @param {string} target
   * @param {{lastEventId: string, retryForS: number} & CallOptions} options
   * @returns {AsyncGenerator<JobEvent, void, undefined>}
   */
  async *#heard(target, { lastEventId, retryForS, signal }) {
    let parser = new EventParser(lastEventId);
    let patience = new Patience(retryForS);
    let afterS = 0;
    let retryS = PAUSE_S;
    for (;;) {
      /** @type {Record<string, string>} */
      const headers = { Accept: "text/event-stream", ...(parser.lastId ? { "Last-Event-ID": parser.lastId } : {}) };
      await pause(afterS, signal);
      const carrier = new Carrier(this.#timeoutS + STREAM_QUIET_S, signal);
      let opened = false;
      try {
        const response = await this.#fetched(carrier, { method: "GET", target, headers });
        if (response?.status === 204) return; // tells an EventSource to stop: the end was received already
        if (response === null || !isStream(response)) throw await failureOf(carrier, response);
        parser = new EventParser(parser.lastId);
        opened = true;
        for await (const chunk of carrier.chunks(response)) {
          for (const event of parser.feed(chunk)) yield heardOf(event);
        }
      } catch (caught) {
        const isBroken = caught instanceof Broken;
        if (!(opened && isBroken)) {
          const failure = isBroken ? this.#noAnswer("GET", caught) : caught;
          if (!(failure instanceof Refused || failure instanceof NoAnswer)) throw failure;
          const pauseS = patience.pauseS(failure);
          if (pauseS === null) throw failure;
          afterS = pauseS;
          continue;
        }
      } finally {
        carrier.close();
      }
      retryS = parser.retryS ?? retryS;
      patience = new Patience(retryForS);
      afterS = jittered(retryS);
    }
  }

  /**
   * Send a read, repeated while it is not answered.
   *
   * @param {ClientRequest} request
   * @returns {Promise<ServerAnswer>}
   */
  async #read(request) {
    return this.#persistently(request, (again) => this.#ask(again));
  }

  /**
   * @template T
   * @param {ClientRequest} request
   * @param {(request: ClientRequest) => Promise<T>} send
   * @returns {Promise<T>}
   */
  async #persistently(request, send) {
    /** @type {Patience | null} */
    let patience = null;
    for (;;) {
      try {
        return await send(request);
      } catch (failure) {
        if (!(failure instanceof NoAnswer) || failure instanceof Unreachable) throw failure;
        patience = patience ?? new Patience(this.#retryReadsForS);
        const afterS = patience.pauseS(failure);
        if (afterS === null) throw failure;
        request = { ...request, afterS };
      }
    }
  }

  /**
   * Send a request, and return this server's answer; a proxy's is a `NoAnswer`.
   *
   * @param {ClientRequest} request
   * @returns {Promise<ServerAnswer>}
   */
  async #ask(request) {
    await pause(request.afterS ?? 0, request.signal);
    const carrier = new Carrier(this.#timeoutS + (request.quietS ?? 0), request.signal);
    try {
      const response = await this.#fetched(carrier, request);
      return await answerOf(carrier, request.method, response);
    } catch (failure) {
      if (failure instanceof Broken) throw this.#noAnswer(request.method, failure);
      throw failure;
    } finally {
      carrier.close();
    }
  }

  /**
   * Send a read; return its 200 unread, or another answer.
   *
   * @param {ClientRequest} request
   * @returns {Promise<Response | ServerAnswer>}
   */
  async #open(request) {
    await pause(request.afterS ?? 0, request.signal);
    const carrier = new Carrier(this.#timeoutS, request.signal);
    try {
      const response = await this.#fetched(carrier, request);
      if (response !== null && response.status === 200) {
        carrier.hearken(Infinity);
        return response;
      }
      const answer = await answerOf(carrier, request.method, response);
      carrier.close();
      return answer;
    } catch (failure) {
      carrier.close();
      if (failure instanceof Broken) throw this.#noAnswer(request.method, failure);
      throw failure;
    }
  }

  /**
   * @param {Carrier} carrier
   * @param {ClientRequest} request
   * @returns {Promise<Response | null>} Null: it was a redirect, which a browser doesn't show.
   */
  async #fetched(carrier, { method, target, headers, body }) {
    try {
      const response = await carrier.heard(
        this.#fetch.call(globalThis, this.#url + target, {
          ...{ method, body, headers: { ...this.#headers, ...headers } },
          ...{ redirect: "manual", cache: "no-store", signal: carrier.signal },
        }),
      );
      return response.type === "opaqueredirect" ? null : response;
    } catch (failure) {
      if (failure instanceof Broken) throw this.#noAnswer(method, failure);
      throw failure;
    }
  }

  /**
   * @param {string} method
   * @param {Broken} broken
   */
  #noAnswer(method, { why, cause }) {
    const code = codeOf(cause);
    if (UNSENT.has(code) || code === "bad port") return new Unreachable(`${this.#url} can't be reached: ${why}`, { cause });
    if (method !== "POST") return new NoAnswer(`${this.#url} did not answer: ${why}`, { cause });
    return new FateUnknown(`${this.#url} was sent a POST, but no answer came (${why}): it may have taken effect`, { cause });
  }
}

// -- one request

/** A request's connection broke, or the server kept silent. */
class Broken extends Error {
  /**
   * @param {string} why
   * @param {unknown} cause
   */
  constructor(why, cause) {
    super(why);
    this.why = why;
    this.cause = cause;
  }
}

/** Carries one request: ends it when the caller's signal says so, or after a silence of `silentS`. */
class Carrier {
  #abort = new AbortController();
  #silentS;
  #outer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  silent = false;

  /**
   * @param {number} silentS
   * @param {AbortSignal | undefined} outer
   */
  constructor(silentS, outer) {
    outer?.throwIfAborted();
    this.#silentS = silentS;
    this.#outer = outer;
    outer?.addEventListener("abort", this.#onAbort);
    this.hearken(silentS);
  }

  /** Ends the request. */
  get signal() {
    return this.#abort.signal;
  }

  /**
   * Begin to count the silence anew.
   *
   * @param {number} silentS
   */
  hearken(silentS) {
    clearTimeout(this.#timer);
    if (silentS <= TIMER_S_MAX) this.#timer = setTimeout(this.#onSilence, Math.max(0, silentS) * 1000);
  }

  /** Release the timer, and what is unread. */
  close() {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#onAbort);
    this.#abort.abort();
  }

  /**
   * Wait for a step of the request.
   *
   * @template T
   * @param {Promise<T>} step
   * @returns {Promise<T>}
   * @throws {Broken} It failed.
   */
  async heard(step) {
    try {
      const found = await step;
      this.hearken(this.#silentS);
      return found;
    } catch (failure) {
      this.#outer?.throwIfAborted();
      throw new Broken(this.silent ? "timed out" : whyOf(failure), failure);
    }
  }

  /**
   * Yield the body of an answer.
   *
   * @param {Response} response
   * @returns {AsyncGenerator<Uint8Array, void, undefined>}
   */
  async *chunks(response) {
    if (response.body === null) return;
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await this.heard(reader.read());
      if (done) return;
      yield value;
    }
  }

  #onAbort = () => this.#abort.abort(this.#outer?.reason);

  #onSilence = () => {
    this.silent = true;
    this.#abort.abort();
  };
}

/**
 * Read an answer whole. Throws a NoAnswer if a proxy answered in the server's place.
 *
 * @param {Carrier} carrier
 * @param {string} method
 * @param {Response | null} response
 * @returns {Promise<ServerAnswer>}
 */
async function answerOf(carrier, method, response) {
  if (response === null) throw new ErrorAnswer(302, "redirected; give the client that URL");
  const decoder = new TextDecoder();
  const pieces = [];
  let sizeBytes = 0;
  for await (const chunk of carrier.chunks(response)) {
    sizeBytes += chunk.length;
    if (sizeBytes > ANSWER_BYTES_MAX) throw new ErrorAnswer(response.status, `more than ${ANSWER_BYTES_MAX} bytes`);
    pieces.push(decoder.decode(chunk, { stream: true }));
  }
  pieces.push(decoder.decode());
  const answer = { status: response.status, headers: response.headers, text: pieces.join("") };
  refuseForeign(method, answer);
  return answer;
}

/**
 * Return the failure in an answer that ought to be a stream.
 *
 * @param {Carrier} carrier
 * @param {Response | null} response
 */
async function failureOf(carrier, response) {
  const answer = await answerOf(carrier, "GET", response);
  return answer.status === 200 ? new ErrorAnswer(200, "not an event stream") : errorIn(answer);
}

/** @param {Response} response */
function isStream(response) {
  return response.status === 200 && (response.headers.get("content-type") ?? "").startsWith("text/event-stream");
}

/**
 * Throw a NoAnswer if a proxy answered in the server's place: by the statuses of gateways, without a problem document of
 * this API. A HEAD has none in any case, so only 502 and 504, which the server never sends, are judged.
 *
 * @param {string} method
 * @param {ServerAnswer} answer
 */
function refuseForeign(method, answer) {
  const { status } = answer;
  const foreign = method === "HEAD" ? status === 502 || status === 504 : status === 408 || status === 425 || status >= 500;
  if (!foreign || problemIn(answer) !== null) return;
  const detail = `HTTP ${status}, not from the job server, perhaps from a proxy in front of it${excerptOf(answer.text)}`;
  const failure = method === "POST" ? new FateUnknown(`${detail}; the POST may have taken effect`) : new NoAnswer(detail);
  failure.status = status;
  failure.retryAfterS = retryAfterOf(answer.headers);
  throw failure;
}

/** @param {unknown} failure */
function whyOf(failure) {
  const code = codeOf(failure);
  if (code) return code;
  return failure instanceof Error ? failure.message || failure.name : String(failure);
}

/**
 * Return the system's name of a failed fetch's cause, where there is one (in Node).
 *
 * @param {unknown} failure
 * @returns {string}
 */
function codeOf(failure) {
  const cause = /** @type {any} */ (failure)?.cause;
  return cause?.code ?? (cause?.message === "bad port" ? "bad port" : "");
}

// -- answers

/**
 * @typedef {object} Problem
 * @property {string} type
 * @property {string} [title]
 * @property {string} [detail]
 * @property {string} [reason]
 * @property {string} [state]
 * @property {string} [scope]
 * @property {string} [id]
 * @property {number} [retry_after_s]
 * @property {{pointer: string, detail: string}[]} [errors]
 * @property {string[]} [faults]
 */

/**
 * Return the problem document of this API; null: the answer has none, and so is not this server's.
 *
 * @param {ServerAnswer} answer
 * @returns {Problem | null}
 */
function problemIn({ text }) {
  try {
    const problem = JSON.parse(text);
    return typeof problem?.type === "string" && problem.type.includes("/problems/") ? problem : null;
  } catch {
    return null;
  }
}

/**
 * @param {ServerAnswer} answer
 * @returns {JobQueueError}
 */
function errorIn(answer) {
  const { status, headers, text } = answer;
  const problem = problemIn(answer);
  if (problem) return errorOf(status, problem, headers.get("job-state"), retryAfterOf(headers));
  if (status === 429) return new RateLimited(`HTTP 429${excerptOf(text)}`, retryAfterOf(headers) ?? PAUSE_S); // a proxy's limit
  const location = headers.get("location");
  if (status >= 300 && status < 400 && location) {
    return new ErrorAnswer(status, `redirected to ${withoutKeys(location).slice(0, 200)}; give the client that URL`);
  }
  return new ErrorAnswer(status, `not from the job server, perhaps from a proxy in front of it${excerptOf(text)}`);
}

/**
 * Return the error of a problem document, which is more precise than the headers beside it.
 *
 * @param {number} status
 * @param {Problem} problem
 * @param {string | null} [jobState]
 * @param {number | null} [retryAfterS]
 * @returns {JobQueueError}
 */
function errorOf(status, problem, jobState = null, retryAfterS = null) {
  const name = problem.type.slice(problem.type.lastIndexOf("/") + 1);
  const detail = withoutKeys(problem.detail || problem.title || "no detail");
  const state = problem.state ?? jobState;
  if (status === 401) return new Unauthorized(detail);
  if (status === 403 && name !== "cross-origin") return new Forbidden(detail, problem.scope ?? null);
  if (name === "job-not-found") return new JobNotFound(detail);
  if (name === "schedule-not-found") return new ScheduleNotFound(detail);
  if (name === "schedule-fixed") return new ScheduleFixed(detail);
  if (status === 410) return new JobGone(problem.reason ?? "unknown");
  if (status === 409 && problem.id) return new Duplicate(problem.id);
  if (status === 409 && state) return new WrongState(detail, state);
  if (status === 422 && name === "idempotency-key-reused") return new KeyReused(detail);
  if (status === 422 && name === "invalid-settings") return new ConfigError(problem.faults ?? [detail]);
  if (status === 422) return new (name === "unknown-type" ? UnknownType : InvalidSubmission)(problem.errors ?? [], detail);
  if (status === 501 && name === "not-in-store") return new NotInStore(detail);
  if (status === 429 || status === 503) {
    const afterS = pauseOf(problem.retry_after_s ?? null) ?? retryAfterS ?? PAUSE_S;
    return new (REFUSALS[name] ?? (status === 429 ? RateLimited : Refused))(detail, afterS);
  }
  return new ErrorAnswer(status, detail);
}

/** @param {ServerAnswer} answer */
function good(answer) {
  if (answer.status < 200 || answer.status >= 300) throw errorIn(answer);
  return answer;
}

/**
 * Return a good answer's body.
 *
 * @template T
 * @param {ServerAnswer} answer
 * @param {(found: any) => T} check Tells whether it is a document of this API.
 * @returns {any}
 */
function decoded(answer, check) {
  const { status, headers, text } = good(answer);
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    found = undefined;
  }
  if (found !== undefined && check(found)) return found;
  const mediaType = (headers.get("content-type") ?? "").split(";")[0].slice(0, 100);
  throw new ErrorAnswer(
    status,
    mediaType && !mediaType.includes("json")
      ? `${mediaType} instead of JSON; this URL is not the job server's${excerptOf(text)}`
      : `not an answer of this API${excerptOf(text)}`,
  );
}

/**
 * Return the answer to a POST. Throws a FateUnknown if it is a success, but not of this API.
 *
 * @param {ServerAnswer} answer
 * @param {(found: any) => boolean} check
 */
function taken(answer, check) {
  try {
    return decoded(answer, check);
  } catch (failure) {
    if (answer.status < 200 || answer.status >= 300 || !(failure instanceof Error)) throw failure;
    const unknown = new FateUnknown(`${failure.message}; the POST may have taken effect`, { cause: failure });
    unknown.status = answer.status;
    throw unknown;
  }
}

/** @param {any} found */
const isObject = (found) => typeof found === "object" && found !== null && !Array.isArray(found);

/**
 * @param {any} found
 * @returns {found is Job}
 */
const isJob = (found) => isObject(found) && typeof found.id === "string" && isState(found.state);

/** @param {string} name */
const hasList = (name) => (/** @type {any} */ found) => isObject(found) && Array.isArray(found[name]);

/**
 * @param {any} found
 * @returns {found is Flow}
 */
const isFlow = (found) => hasList("jobs")(found) && isJob(found);

/**
 * @param {string} state
 * @returns {state is JobState}
 */
function isState(state) {
  return STATES.has(state);
}

/** @param {Job} job */
function resultOf(job) {
  if (job.state !== "succeeded") throw new JobFailed(job);
  return job.result;
}

/**
 * Return the beginning of a page's text, without its markup.
 *
 * @param {string} text
 */
function excerptOf(text) {
  const words = text.slice(0, 4096).replace(/<(style|script)\b[^]*?<\/\1>|<[^<>]*>/g, " ").split(/\s+/).join(" ").trim();
  return words ? `: ${withoutKeys(words).slice(0, EXCERPT_LENGTH)}` : "";
}

/**
 * Return a text of a server or proxy without the keys that it may repeat.
 *
 * @param {string} text
 */
function withoutKeys(text) {
  return text
    .replace(/(jq_[A-Za-z0-9]{1,32})_[A-Za-z0-9_+/=-]+/g, "$1_***")
    .replace(/(authorization["']?\s*[:=]\s*["']?(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]+=*/gi, "$1***");
}

// -- pauses

/**
 * Check durations, by their names.
 *
 * @param {Record<string, number>} durations
 * @throws {TypeError} One is no number of seconds.
 */
function checkSeconds(durations) {
  for (const [name, value] of Object.entries(durations)) {
    if (typeof value !== "number" || !(value >= 0)) {
      throw new TypeError(`${name} is a number of seconds from 0 on, not ${typeof value === "number" ? value : JSON.stringify(value)}`);
    }
  }
}

/** Return the seconds of a clock that never steps. */
const now = () => performance.now() / 1000;

/** @param {number} seconds */
const jittered = (seconds) => Math.max(PAUSE_S_MIN, seconds) * (1 + JITTER * Math.random());

/** The time in which a call is repeated: `forS` from now on. */
class Patience {
  #until;

  /** @param {number} forS */
  constructor(forS) {
    this.#until = now() + forS;
  }

  /**
   * Return the pause before the next try, never less than the server asked for; null: give up.
   *
   * @param {Refused | NoAnswer} failure
   * @returns {number | null}
   */
  pauseS({ retryAfterS }) {
    const askedS = retryAfterS ?? PAUSE_S;
    return now() + askedS > this.#until ? null : jittered(askedS);
  }
}

/**
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
async function pause(seconds, signal) {
  signal?.throwIfAborted();
  if (seconds <= 0) return;
  await new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve(undefined);
    }, seconds * 1000);
    signal?.addEventListener("abort", end, { once: true });
  });
}

/**
 * Return the pause of `Retry-After` (RFC 9110, section 10.2.3), a number of seconds or a date; null: none that can be used.
 * A date is counted from the `Date` of the same answer, so that the two machines' clocks may differ.
 *
 * @param {Headers} headers
 * @returns {number | null}
 */
function retryAfterOf(headers) {
  const value = (headers.get("retry-after") ?? "").trim();
  if (/^[0-9]+$/.test(value)) return pauseOf(Number(value));
  const until = instantOf(value);
  const since = instantOf(headers.get("date") ?? "");
  return pauseOf((until - (Number.isNaN(since) ? Date.now() : since)) / 1000);
}

/** @param {string} text */
const instantOf = (text) => (/^[A-Z][a-z]{2,8},? /.test(text) ? Date.parse(text) : NaN);

/**
 * @param {number | null} seconds
 * @returns {number | null}
 */
function pauseOf(seconds) {
  return seconds === null || !(seconds >= 0) ? null : Math.min(seconds, PAUSE_S_MAX);
}

/**
 * Tell whether the answer for a live job took the wait that the server applied. If it did not, the wait was cut short (the
 * server is about to exit), or the server didn't wait (too many long polls): the client must not ask again at once.
 *
 * @param {string} applied
 * @param {number} waitedS
 */
function waitedOut(applied, waitedS) {
  const found = /\bwait=([0-9]{1,9})\b/.exec(applied);
  return found !== null && Number(found[1]) >= 1 && Number(found[1]) <= waitedS + SLACK_S;
}

// -- server-sent events (HTML Living Standard, section 9.2.6)

/** Takes the bytes of one connection, in any pieces. A line ends with CRLF, LF or CR, and an event with an empty line. */
class EventParser {
  #decoder = new TextDecoder();
  /** @type {string[]} */
  #rest = []; // of a line: pieces, since to join them for each would take quadratic time
  #afterCr = false;
  #id;
  #name = "";
  /** @type {string[]} */
  #data = [];
  #size = 0;
  /** @type {number | null} */
  retryS = null;

  /** @param {string} lastId */
  constructor(lastId) {
    this.lastId = this.#id = lastId;
  }

  /**
   * Return the events that these bytes complete.
   *
   * @param {Uint8Array} chunk
   */
  feed(chunk) {
    let text = this.#decoder.decode(chunk, { stream: true });
    if (text === "") return [];
    if (this.#afterCr && text.startsWith("\n")) text = text.slice(1);
    this.#afterCr = text.endsWith("\r") || (this.#afterCr && text === "");
    const lines = text.split(/\r\n|\r|\n/);
    const rest = lines.pop() ?? "";
    if (lines.length > 0) {
      lines[0] = [...this.#rest, lines[0]].join("");
      this.#rest = [];
    }
    this.#rest.push(rest);
    this.#size += text.length;
    const events = lines.map((line) => this.#take(line)).filter((event) => event !== null);
    if (this.#size > EVENT_CHARACTERS_MAX) throw new ErrorAnswer(200, "an event of too many bytes");
    return events;
  }

  /** @param {string} line */
  #take(line) {
    if (line === "") return this.#dispatch();
    const at = line.indexOf(":");
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(line[at + 1] === " " ? at + 2 : at + 1);
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#name = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retryS = pauseOf(Number(value) / 1000);
    return null;
  }

  #dispatch() {
    this.lastId = this.#id;
    const event = { name: this.#name || "message", data: this.#data.join("\n"), id: this.lastId };
    const isEmpty = this.#data.length === 0;
    this.#name = "";
    this.#data = [];
    this.#size = 0;
    return isEmpty ? null : event;
  }
}

/**
 * @param {{name: string, data: string, id: string}} event
 * @returns {JobEvent}
 */
function heardOf({ name, data, id }) {
  let document;
  try {
    document = JSON.parse(data);
  } catch {
    document = null;
  }
  if (!isObject(document)) throw new ErrorAnswer(200, `not an event of this API${excerptOf(data)}`);
  const state = isState(document.state) ? document.state : null;
  return { id, name, data: document, state, over: state !== null && !LIVE.has(state) };
}

// -- graphs

/**
 * The name that each job of a made graph asked for, without the number that was added.
 *
 * @type {WeakMap<object, string>}
 */
const askedNames = new WeakMap();

/**
 * Return a graph in which each part starts after the last jobs of the part before it. Parts are copied. A job without a
 * name has its type's; where a name is taken, the later job gets a number: `resize-2`.
 *
 * @param {...Part} parts
 * @returns {Graph}
 * @throws {TypeError} One is no part.
 */
export function chain(...parts) {
  /** @type {Graph} */
  const graph = { jobs: [] };
  /** @type {string[]} */
  let last = [];
  for (const part of parts) {
    const added = addPart(graph.jobs, part, last);
    if (added.length > 0) last = added;
  }
  return graph;
}

/**
 * Return a graph of parts that don't wait for each other, copied and named as by `chain`.
 *
 * @param {...Part} parts
 * @returns {Graph}
 * @throws {TypeError} One is no part.
 */
export function group(...parts) {
  /** @type {Graph} */
  const graph = { jobs: [] };
  for (const part of parts) addPart(graph.jobs, part, []);
  return graph;
}

/**
 * Add a copy of a part to the jobs of a graph; return the names of its last jobs there.
 *
 * @param {NamedSubmission[]} jobs
 * @param {any} part
 * @param {string[]} parents Names of jobs after which the first jobs of the part come.
 * @returns {string[]}
 */
function addPart(jobs, part, parents) {
  const isGraph = hasList("jobs")(part) && !("type" in part);
  /** @type {any[]} */
  const given = isGraph ? part.jobs : [typeof part === "string" ? { type: part } : part];
  if (!given.every((job) => isObject(job) && typeof job.type === "string")) {
    throw new TypeError("a part of a graph is a type, a submission with a type, or a graph");
  }
  const taken = new Set(jobs.map(({ name }) => name));
  /** @type {Map<string, string>} */
  const renamed = new Map();
  const names = given.map((job) => {
    const asked = askedNames.get(job) ?? job.name ?? job.type;
    let name = asked;
    for (let number = 2; taken.has(name); number += 1) name = `${asked}-${number}`;
    taken.add(name);
    if (isGraph) renamed.set(job.name, name);
    return { asked, name };
  });
  const added = given.map((job, at) => {
    /** @type {string[]} */
    const own = [job.after ?? []].flat();
    const before = own.some((name) => renamed.has(name)) ? [] : parents;
    const copy = { args: {}, ...job, name: names[at].name, after: [...before, ...own.map((name) => renamed.get(name) ?? name)] };
    askedNames.set(copy, names[at].asked);
    return copy;
  });
  jobs.push(...added);
  const inside = new Set(added.flatMap(({ after }) => after));
  return added.map(({ name }) => name).filter((name) => !inside.has(name));
}

// -- submissions

/**
 * Write a document as JSON.
 *
 * @param {object} document
 * @throws {TypeError} JSON can't say it.
 */
function encode(document) {
  if (!isObject(document)) {
    throw new TypeError(`expected an object, such as { type: "echo", args: { hello: "world" } }, not ${JSON.stringify(document)}`);
  }
  return JSON.stringify(document, (name, value) => {
    if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`${name}: JSON has no ${value}`);
    return value;
  });
}

/**
 * Return a form, the job first, as the server reads it.
 *
 * @param {string} job
 * @param {Files} files
 */
function formOf(job, files) {
  const form = new FormData();
  form.append("job", job);
  const entries = files instanceof FormData ? [...files] : Object.entries(files).flatMap(([part, file]) =>
    (Array.isArray(file) ? file : [file]).map((each) => /** @type {[string, FileSource]} */ ([part, each])),
  );
  for (const [part, file] of entries) {
    if (part === "job") throw new TypeError("no file may be named 'job': that is the part of the submission");
    if (files instanceof FormData && typeof file === "string") {
      throw new TypeError(`the field '${part}' of the form is no file: put it into args`);
    }
    appendFile(form, part, file);
  }
  return form;
}

/**
 * @param {FormData} form
 * @param {string} part
 * @param {FileSource} file
 */
function appendFile(form, part, file) {
  const wrapped = isContent(file) ? { content: file } : file;
  const { content, name, type } = wrapped ?? {};
  if (!isContent(content)) throw new TypeError(`the file '${part}' must be a Blob, a File, bytes, a string, or {content, name, type}`);
  const given = type ?? (content instanceof Blob ? content.type : "");
  const blob = content instanceof Blob && content.type === given ? content : new Blob([/** @type {BlobPart} */ (content)], { type: given });
  form.append(part, blob, name ?? /** @type {Partial<File>} */ (content).name ?? part);
}

/**
 * @param {unknown} found
 * @returns {found is FileContent}
 */
function isContent(found) {
  return typeof found === "string" || found instanceof Blob || found instanceof ArrayBuffer || ArrayBuffer.isView(found);
}

/**
 * @param {number[]} left
 * @param {string[]} encoded
 */
function* portions(left, encoded) {
  /** @type {number[]} */
  let portion = [];
  let size = 0;
  for (const n of left) {
    if (portion.length > 0 && (portion.length === BATCH_MAX || size + encoded[n].length > BATCH_CHARACTERS)) {
      yield portion;
      portion = [];
      size = 0;
    }
    portion.push(n);
    size += encoded[n].length;
  }
  yield portion;
}

/** Draw an idempotency key. Not by randomUUID, which pages over plain HTTP lack. */
async function newKey() {
  const name = "node:crypto"; // in a variable, so that bundlers for browsers leave it alone
  const crypto = globalThis.crypto ?? (await import(name)).webcrypto; // Node 18 has no global one
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Write a key as a structured field's string (RFC 9651, section 3.3.3).
 *
 * @param {string} key
 */
function quoted(key) {
  if (typeof key !== "string" || !/^[ -~]{1,255}$/.test(key)) {
    throw new TypeError(`an idempotency key has 1 to 255 printable ASCII characters, unlike ${JSON.stringify(key)}`);
  }
  return `"${key.replace(/[\\"]/g, "\\$&")}"`;
}

// -- addresses

/** @param {string} id */
const jobPath = (id) => `/v1/jobs/${encodeURIComponent(id)}`;

/** @param {string} id */
const flowPath = (id) => `/v1/flows/${encodeURIComponent(id)}`;

/** @param {string} name */
const schedulePath = (name) => `/v1/schedules/${encodeURIComponent(name)}`;

/** @param {string} name */
const queuePath = (name) => `/v1/queues/${encodeURIComponent(name)}`;

/**
 * Write the parameters that are given as a query. A `Date` is an instant.
 *
 * @param {object} parameters
 */
function queryOf(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
  const texts = given.map(([name, value]) => [name, value instanceof Date ? value.toISOString() : String(value)]);
  return texts.length > 0 ? `?${new URLSearchParams(texts)}` : "";
}

/**
 * Yield the entries of all pages of a list.
 *
 * @template {{next_cursor?: string | null}} Page
 * @template Entry
 * @param {(cursor: string | undefined) => Promise<Page>} read
 * @param {(page: Page) => Entry[]} entriesOf
 * @param {string} [cursor] Where the first page begins.
 * @returns {AsyncGenerator<Entry, void, undefined>}
 */
async function* entriesOfAll(read, entriesOf, cursor) {
  do {
    const page = await read(cursor);
    yield* entriesOf(page);
    if (cursor && page.next_cursor === cursor) throw new ErrorAnswer(200, "pages without end");
    cursor = page.next_cursor ?? undefined;
  } while (cursor);
}

/**
 * Return a variable of Node's environment.
 *
 * @param {string} name
 * @returns {string | undefined}
 */
function variable(name) {
  return /** @type {any} */ (globalThis).process?.env?.[name] || undefined;
}

/**
 * @param {string | URL | undefined} given
 * @returns {{url: string, authorization: string}}
 */
function addressOf(given) {
  const looksLike = "expected a URL such as http://127.0.0.1:8080 or https://jobs.example.com";
  if (given === undefined || given === "") throw new TypeError(`no server URL: give one, or set JOBQUEUE_URL; ${looksLike}`);
  const shown = String(given).replace(/(\/\/[^/@:]*):[^/]*@/, "$1@");
  if (/^unix:/.test(shown)) throw new TypeError(`${shown}: fetch connects to no Unix socket; ${looksLike}`);
  let url;
  try {
    url = new URL(given, /** @type {any} */ (globalThis).location?.href);
  } catch {
    throw new TypeError(`${JSON.stringify(shown)} is not a server URL; ${looksLike}`);
  }
  if (!/^https?:$/.test(url.protocol) || url.search || url.hash) {
    throw new TypeError(`${JSON.stringify(shown)} is not a server URL; ${looksLike}`);
  }
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  const authorization = url.username || url.password ? `Basic ${base64(pair)}` : "";
  return { url: `${url.origin}${url.pathname}`.replace(/\/+$/, ""), authorization };
}

/** @param {string} text */
const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

/**
 * Return the headers of every request.
 *
 * @param {Record<string, string>} given
 * @param {string} ofUrl
 * @param {string | undefined} key
 */
function headersOf(given, ofUrl, key) {
  const named = Object.keys(given).some((name) => name.toLowerCase() === "authorization");
  const beside = named ? "an Authorization header" : ofUrl ? "a user in the URL" : "";
  if (key && beside) throw new TypeError(`a key and ${beside} are two credentials: give one of them`);
  const used = checkedKey(key ?? (beside ? "" : variable("JOBQUEUE_KEY") ?? ""));
  const authorization = named ? "" : ofUrl || (used && `Bearer ${used}`);
  return { ...given, ...(authorization ? { Authorization: authorization } : {}) };
}

/** @param {string} key */
function checkedKey(key) {
  if (typeof key !== "string") throw new TypeError(`the key must be a string, not ${typeof key}`);
  if (key === "" || /^[A-Za-z0-9._~+/-]+=*$/.test(key)) return key; // RFC 6750, section 2.1
  if (key !== key.trim()) throw new TypeError("the key begins or ends with a blank or a line break: remove it");
  if (/^bearer /i.test(key)) throw new TypeError("the key must be the key alone, without 'Bearer'");
  throw new TypeError("the key is no API key: expected letters, digits and -._~+/, as in jq_<id>_<secret>");
}
