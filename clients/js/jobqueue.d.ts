/**
 * Return a graph in which each part starts after the last jobs of the part before it. Parts are copied. A job without a
 * name has its type's; where a name is taken, the later job gets a number: `resize-2`.
 *
 * @param {...Part} parts
 * @returns {Graph}
 * @throws {TypeError} One is no part.
 */
export function chain(...parts: Part[]): Graph;
/**
 * Return a graph of parts that don't wait for each other, copied and named as by `chain`.
 *
 * @param {...Part} parts
 * @returns {Graph}
 * @throws {TypeError} One is no part.
 */
export function group(...parts: Part[]): Graph;
/** The base class of this module's errors. */
export class JobQueueError extends Error {
    /**
     * @param {string} message
     * @param {ErrorOptions} [options]
     */
    constructor(message: string, options?: ErrorOptions);
}
/** There is no API key in the request, or one that the server doesn't know (401). */
export class Unauthorized extends JobQueueError {
}
/** The API key lacks the scope that the request needs (403); `scope` names it, if the server does. */
export class Forbidden extends JobQueueError {
    /**
     * @param {string} message
     * @param {string | null} scope
     */
    constructor(message: string, scope: string | null);
    scope: string | null;
}
/** The request is invalid (422); `errors` says where, by JSON pointers, and why. */
export class InvalidSubmission extends JobQueueError {
    /** @param {{pointer: string, detail: string}[]} errors */
    constructor(errors: {
        pointer: string;
        detail: string;
    }[], message?: string);
    errors: {
        pointer: string;
        detail: string;
    }[];
}
/** The server's settings have faults (422), each named in `faults`: a reload changed nothing. */
export class ConfigError extends JobQueueError {
    /** @param {string[]} faults */
    constructor(faults: string[]);
    faults: string[];
}
/** No handler is registered under the submitted type. */
export class UnknownType extends InvalidSubmission {
}
/** What was asked for doesn't exist where servers share their jobs: `backend: valkey` (501). */
export class NotInStore extends JobQueueError {
}
/** Something else was submitted under this idempotency key (422). */
export class KeyReused extends JobQueueError {
}
/** A live job, `jobId`, has the unique value already, and the submission's mode is `reject` (409). */
export class Duplicate extends JobQueueError {
    /** @param {string} jobId */
    constructor(jobId: string);
    jobId: string;
}
/** The job's state, `state`, forbids the operation (409). */
export class WrongState extends JobQueueError {
    /**
     * @param {string} message
     * @param {string} state
     */
    constructor(message: string, state: string);
    state: string;
}
/** No job was ever issued under this id (404). */
export class JobNotFound extends JobQueueError {
}
/** The id was issued, but its record is no longer held (410); `reason` is `evicted` or `earlier-run`. */
export class JobGone extends JobQueueError {
    /** @param {string} reason */
    constructor(reason: string);
    reason: string;
}
/** No schedule has this name (404). */
export class ScheduleNotFound extends JobQueueError {
}
/** The schedule is defined in the code or in the settings, so a request can't replace or delete it (409). */
export class ScheduleFixed extends JobQueueError {
}
/** It is valid, but rejected for now (429, 503): nothing was kept. `retryAfterS` is when to come back, in seconds. */
export class Refused extends JobQueueError {
    /**
     * @param {string} message
     * @param {number} retryAfterS
     */
    constructor(message: string, retryAfterS: number);
    retryAfterS: number;
}
/** The queue holds as many live jobs as its capacity allows. */
export class QueueFull extends Refused {
}
/** The job store is full of live jobs. */
export class StatusesFull extends Refused {
}
/** The spool directory holds as many bytes of files as it may. */
export class SpoolFull extends Refused {
}
/** The server's journal holds as many bytes as it may. */
export class JournalFull extends Refused {
}
/** The server's journal can't be written, so nothing that changes jobs can be promised. */
export class JournalFailed extends Refused {
}
/** The store that keeps the jobs doesn't answer. A change may have been made all the same. */
export class StoreUnavailable extends Refused {
}
/** The server has too much to do to take more. */
export class Overloaded extends Refused {
}
/** The type is in quarantine after consecutive failures, and enough of its jobs wait already. */
export class TypeQuarantined extends Refused {
}
/** The server is about to stop, and accepts no more jobs. */
export class Draining extends Refused {
}
/** The server has started, and reads its jobs from its journal. */
export class Recovering extends Refused {
}
/** This caller has used up its own quota (429). */
export class RateLimited extends Refused {
}
/** The job ended without a result; `code` and `reason` are its error's, null for none. */
export class JobFailed extends JobQueueError {
    /** @param {Pick<Job, "state" | "error">} job */
    constructor({ state, error }: Pick<Job, "state" | "error">);
    state: "failed" | "succeeded" | "waiting" | "running" | "expired" | "cancelled" | "delayed" | "queued";
    code: "rejected" | "bad_result" | "files_lost" | "handler_error" | "parent_failed" | "result_too_large" | "shutdown" | "timed_out" | "worker_crashed" | null;
    reason: string | null;
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
    constructor(id: string, state: string | null, waitedS: number, kind?: "job" | "flow");
    jobId: string | null;
    flowId: string | null;
    state: string | null;
}
/** The server answered with an error of no other class, or with something that isn't this API's. */
export class ErrorAnswer extends JobQueueError {
    /**
     * @param {number} status
     * @param {string} detail
     */
    constructor(status: number, detail: string);
    status: number;
    detail: string;
}
/**
 * The server did not answer: the connection broke, it kept silent, or something else answered, such as a proxy.
 *
 * `status` and `retryAfterS` are those of the proxy's answer; null: there was none. In a browser an answer that CORS
 * hides from the page is none, too.
 */
export class NoAnswer extends JobQueueError {
    /** @type {number | null} */
    status: number | null;
    /** @type {number | null} */
    retryAfterS: number | null;
}
/** No connection could be made: nothing was sent. Browsers don't tell it apart, so there it is one of the others. */
export class Unreachable extends NoAnswer {
}
/**
 * A POST was sent, and no answer of the server came: it may or may not have acted on it.
 *
 * `idempotencyKey` is the key of a submission: submitted again with the same key, and unchanged otherwise, it becomes no
 * second job while the first one's record is held.
 */
export class FateUnknown extends NoAnswer {
    /** @type {string | null} */
    idempotencyKey: string | null;
}
/** A client of one server. It keeps no connection of its own, so there is nothing to close. */
export class Client {
    /**
     * @param {string | URL} [url] `http://` or `https://`, or in a page a path of its own server. A path is the prefix under
     *     which the API is mounted; a user and a password are sent as `Authorization: Basic`. Node: defaults to the variable
     *     `JOBQUEUE_URL`.
     * @param {ClientOptions} [options]
     * @throws {TypeError} There is no URL, or it or the key is malformed; the message doesn't show the key.
     */
    constructor(url?: string | URL, { key, timeoutS, retryReadsForS, headers, fetch }?: ClientOptions);
    /** The server's URL, without user and password. */
    get url(): string;
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
    submit(submission: Submission, { files, idempotencyKey, retryForS, waitS, signal }?: SubmitOptions): Promise<SubmittedJob>;
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
    run(submission: Submission, options?: RunOptions): Promise<any>;
    /**
     * Submit jobs, up to a thousand in a request; each is accepted or rejected by itself.
     *
     * @param {Iterable<Submission>} submissions
     * @param {{retryForS?: number} & CallOptions} [options]
     * @returns {Promise<(string | JobQueueError)[]>} For each, in order, its job's id, or the error that `submit` would throw.
     */
    submitMany(submissions: Iterable<Submission>, { retryForS, signal }?: {
        retryForS?: number;
    } & CallOptions): Promise<(string | JobQueueError)[]>;
    /**
     * Ask for a job's state by HEAD, the cheapest question.
     *
     * @param {string} id
     * @param {CallOptions} [options]
     * @returns {Promise<JobStatus>}
     * @throws {JobNotFound | JobGone}
     */
    status(id: string, { signal }?: CallOptions): Promise<JobStatus>;
    /**
     * Return a job's document.
     *
     * @param {string} id
     * @param {{include?: MemberOnRequest[]} & CallOptions} [options] `include`: members that the document has on request only.
     * @returns {Promise<JobWithMembers>}
     * @throws {JobNotFound | JobGone}
     */
    get(id: string, { include, signal }?: {
        include?: MemberOnRequest[];
    } & CallOptions): Promise<JobWithMembers>;
    /**
     * Return a document for each id, or the error that `get` would throw.
     *
     * @param {Iterable<string>} ids
     * @param {CallOptions} [options]
     * @returns {Promise<Map<string, Job | JobQueueError>>}
     */
    getMany(ids: Iterable<string>, { signal }?: CallOptions): Promise<Map<string, Job | JobQueueError>>;
    /**
     * Return a page of the jobs that match, newest first.
     *
     * @param {ListFilter} [filter]
     * @param {CallOptions} [options]
     * @returns {Promise<JobPage>}
     */
    list(filter?: ListFilter, { signal }?: CallOptions): Promise<JobPage>;
    /**
     * Yield all jobs that match, newest first, page by page.
     *
     * @param {ListFilter} [filter]
     * @param {CallOptions} [options]
     * @returns {AsyncGenerator<Job, void, undefined>}
     */
    iterAll(filter?: ListFilter, { signal }?: CallOptions): AsyncGenerator<Job, void, undefined>;
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
    wait(id: string, { timeoutS, retryForS, signal }?: {
        timeoutS?: number;
        retryForS?: number;
    } & CallOptions): Promise<Job>;
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
    result(id: string, { signal }?: CallOptions): Promise<any>;
    /**
     * Return a job's result, JSON or file, as a `Response` with its body still unread: `await response.blob()`, or read
     * `response.body`, a stream, which the signal ends, too.
     *
     * @param {string} id
     * @param {CallOptions} [options]
     * @returns {Promise<Response>}
     * @throws {JobFailed | WrongState} As from `result`.
     */
    download(id: string, { signal }?: CallOptions): Promise<Response>;
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
    events(id?: string | null, { lastEventId, retryForS, signal }?: {
        lastEventId?: string;
        retryForS?: number;
    } & CallOptions): AsyncGenerator<JobEvent, void, undefined>;
    /**
     * Yield the state and the progress of a job at each of its changes, until it is terminal.
     *
     * @param {string} id
     * @param {{retryForS?: number} & CallOptions} [options] As for `events`.
     * @returns {AsyncGenerator<JobProgress, void, undefined>}
     * @throws {JobNotFound | JobGone | Refused | NoAnswer} As from `events`.
     */
    progress(id: string, options?: {
        retryForS?: number;
    } & CallOptions): AsyncGenerator<JobProgress, void, undefined>;
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
    publish(topic: string, data?: any, { idempotencyKey, retryForS, signal }?: {
        idempotencyKey?: string;
        retryForS?: number;
    } & CallOptions): Promise<Publication & {
        deduplicated: boolean;
    }>;
    /**
     * Return the subscribers and listeners by their patterns, with counts.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<Topics>}
     */
    topics({ signal }?: CallOptions): Promise<Topics>;
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
    listen(pattern: string, { lastEventId, retryForS, signal }?: {
        lastEventId?: string;
        retryForS?: number;
    } & CallOptions): AsyncGenerator<TopicEvent, void, undefined>;
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
    submitFlow(graph: Graph, { idempotencyKey, retryForS, signal }?: {
        idempotencyKey?: string;
        retryForS?: number;
    } & CallOptions): Promise<Flow & {
        deduplicated: boolean;
    }>;
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
    flow(id: string, { includeJobs, limit, cursor, signal }?: {
        includeJobs?: boolean;
        limit?: number;
        cursor?: string;
    } & CallOptions): Promise<Flow>;
    /**
     * Yield all jobs of a flow, page by page, parents before their children.
     *
     * @param {string} id
     * @param {{includeJobs?: boolean, limit?: number} & CallOptions} [options] As for `flow`; `limit`: jobs on a page.
     * @returns {AsyncGenerator<Flow["jobs"][number], void, undefined>}
     * @throws {JobNotFound | JobGone}
     */
    iterFlowJobs(id: string, { includeJobs, limit, signal }?: {
        includeJobs?: boolean;
        limit?: number;
    } & CallOptions): AsyncGenerator<Flow["jobs"][number], void, undefined>;
    /**
     * Return a page of the flows in a state, or of all, newest first.
     *
     * @param {FlowFilter} [filter]
     * @param {CallOptions} [options]
     * @returns {Promise<FlowPage>}
     */
    flows(filter?: FlowFilter, { signal }?: CallOptions): Promise<FlowPage>;
    /**
     * Yield all flows in a state, or all, newest first, page by page.
     *
     * @param {FlowFilter} [filter]
     * @param {CallOptions} [options]
     * @returns {AsyncGenerator<FlowSummary, void, undefined>}
     */
    iterFlows(filter?: FlowFilter, { signal }?: CallOptions): AsyncGenerator<FlowSummary, void, undefined>;
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
    flowEvents(id: string, { retryForS, signal }?: {
        retryForS?: number;
    } & CallOptions): AsyncGenerator<JobEvent, void, undefined>;
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
    waitFlow(id: string, { timeoutS, retryForS, signal }?: {
        timeoutS?: number;
        retryForS?: number;
    } & CallOptions): Promise<Flow>;
    /**
     * Cancel all live jobs of a flow.
     *
     * @param {string} id
     * @param {CallOptions} [options]
     * @returns {Promise<Flow>}
     * @throws {WrongState} It has ended.
     */
    cancelFlow(id: string, options?: CallOptions): Promise<Flow>;
    /**
     * Run a flow again from what has not succeeded.
     *
     * @param {string} id
     * @param {CallOptions} [options]
     * @returns {Promise<Flow>}
     * @throws {WrongState} It runs, or has succeeded.
     * @throws {Refused} There are not slots for all of it now.
     */
    retryFlow(id: string, options?: CallOptions): Promise<Flow>;
    /**
     * Return all schedules, by name.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<Schedule[]>}
     */
    schedules({ signal }?: CallOptions): Promise<Schedule[]>;
    /**
     * Return one schedule, with its next instants.
     *
     * @param {string} name
     * @param {CallOptions} [options]
     * @returns {Promise<Schedule>}
     * @throws {ScheduleNotFound}
     */
    schedule(name: string, { signal }?: CallOptions): Promise<Schedule>;
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
    putSchedule(name: string, schedule: ScheduleSubmission, { signal }?: CallOptions): Promise<Schedule>;
    /**
     * Delete a schedule; its jobs stay.
     *
     * @param {string} name
     * @param {CallOptions} [options]
     * @returns {Promise<void>}
     * @throws {ScheduleNotFound | ScheduleFixed | NotInStore}
     */
    deleteSchedule(name: string, { signal }?: CallOptions): Promise<void>;
    /**
     * Submit a schedule's job now, beside its ticks.
     *
     * @param {string} name
     * @param {CallOptions} [options]
     * @returns {Promise<Job>}
     * @throws {Duplicate} It skips while its last job is live.
     * @throws {ScheduleNotFound | Refused}
     */
    runSchedule(name: string, options?: CallOptions): Promise<Job>;
    /**
     * Have a schedule give no ticks until it is resumed.
     *
     * @param {string} name
     * @param {CallOptions} [options]
     * @returns {Promise<Schedule>}
     * @throws {ScheduleNotFound | NotInStore}
     */
    pauseSchedule(name: string, options?: CallOptions): Promise<Schedule>;
    /**
     * Have a paused schedule give ticks again, and those since the pause that its `catch_up` says.
     *
     * @param {string} name
     * @param {CallOptions} [options]
     * @returns {Promise<Schedule>}
     * @throws {ScheduleNotFound | NotInStore}
     */
    resumeSchedule(name: string, options?: CallOptions): Promise<Schedule>;
    /**
     * Cancel a live job; its document says `running` as long as its handler is being stopped.
     *
     * @param {string} id
     * @param {CallOptions} [options]
     * @returns {Promise<Job>}
     * @throws {WrongState} It is terminal.
     */
    cancel(id: string, options?: CallOptions): Promise<Job>;
    /**
     * Retry a failed job, with all of its attempts.
     *
     * @param {string} id
     * @param {CallOptions} [options]
     * @returns {Promise<Job>}
     * @throws {WrongState} It has not failed.
     * @throws {Refused} There is no slot for it now.
     */
    retry(id: string, options?: CallOptions): Promise<Job>;
    /**
     * End a delayed job's delay.
     *
     * @param {string} id
     * @param {CallOptions} [options]
     * @returns {Promise<Job>}
     * @throws {WrongState} It has none.
     */
    runNow(id: string, options?: CallOptions): Promise<Job>;
    /**
     * Delete a terminal job, and its files.
     *
     * @param {string} id
     * @param {CallOptions} [options]
     * @returns {Promise<void>}
     * @throws {WrongState} It is live.
     */
    delete(id: string, { signal }?: CallOptions): Promise<void>;
    /**
     * Retry the failed jobs that match; at least one filter is required, here and in the next three.
     *
     * @param {BulkFilter} filter
     * @param {CallOptions} [options]
     * @returns {Promise<BulkResult>}
     */
    retryAll(filter: BulkFilter, options?: CallOptions): Promise<BulkResult>;
    /**
     * Cancel the live jobs that match.
     *
     * @param {BulkFilter} filter
     * @param {CallOptions} [options]
     * @returns {Promise<BulkResult>}
     */
    cancelAll(filter: BulkFilter, options?: CallOptions): Promise<BulkResult>;
    /**
     * Delete the terminal jobs that match.
     *
     * @param {BulkFilter} filter
     * @param {CallOptions} [options]
     * @returns {Promise<BulkResult>}
     */
    deleteAll(filter: BulkFilter, options?: CallOptions): Promise<BulkResult>;
    /**
     * Let the delayed jobs that match, and those that wait for their next attempt, start now.
     *
     * @param {BulkFilter} filter
     * @param {CallOptions} [options]
     * @returns {Promise<BulkResult>}
     */
    runAllNow(filter: BulkFilter, options?: CallOptions): Promise<BulkResult>;
    /**
     * Return the document of each queue.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<Queue[]>}
     */
    queues({ signal }?: CallOptions): Promise<Queue[]>;
    /**
     * Return what can be submitted: each type with its options, the JSON Schema of its arguments, and its counts.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<JobType[]>}
     */
    types({ signal }?: CallOptions): Promise<JobType[]>;
    /**
     * Return what queues or types did, in points of one length.
     *
     * @param {StatsQuery} [query]
     * @param {CallOptions} [options]
     * @returns {Promise<Stats>}
     */
    stats(query?: StatsQuery, { signal }?: CallOptions): Promise<Stats>;
    /**
     * Return the state of the server. It needs the scope `admin`.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<Server>}
     */
    server({ signal }?: CallOptions): Promise<Server>;
    /**
     * Return what is wrong now, the worst first: each with its severity, a sentence, its cause, what to do, since when.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<Finding[]>}
     */
    findings({ signal }?: CallOptions): Promise<Finding[]>;
    /**
     * Return the receivers of webhooks: state, counts and the latest attempt of each.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<Webhook[]>}
     */
    webhooks({ signal }?: CallOptions): Promise<Webhook[]>;
    /**
     * Return the latest lines of the server's log, newest first. It needs the scope `admin`.
     *
     * @param {LogQuery} [query]
     * @param {CallOptions} [options]
     * @returns {Promise<ServerLog>}
     * @throws {ErrorAnswer} 409: the API is mounted in an application, which has a log of its own.
     */
    serverLog(query?: LogQuery, { signal }?: CallOptions): Promise<ServerLog>;
    /**
     * Return the server's settings in effect, each with its default and source. It needs the scope `admin`.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<ServerSettings>}
     */
    serverSettings({ signal }?: CallOptions): Promise<ServerSettings>;
    /**
     * Return one type that can be submitted.
     *
     * @param {string} name
     * @param {CallOptions} [options]
     * @returns {Promise<JobType>}
     * @throws {ErrorAnswer} 404: there is no such type.
     */
    jobType(name: string, { signal }?: CallOptions): Promise<JobType>;
    /**
     * End the quarantine of a type, if it is in one: its waiting jobs start.
     *
     * @param {string} name
     * @param {CallOptions} [options]
     * @returns {Promise<JobType>}
     * @throws {ErrorAnswer} 404: there is no such type.
     */
    releaseType(name: string, options?: CallOptions): Promise<JobType>;
    /**
     * Return the failed jobs that match, in groups by type, error and masked message.
     *
     * @param {FailureFilter} [filter]
     * @param {CallOptions} [options]
     * @returns {Promise<Failures>}
     */
    failures(filter?: FailureFilter, { signal }?: CallOptions): Promise<Failures>;
    /**
     * Return one group of failures, with what the arguments of its newest jobs have in common.
     *
     * @param {string} id
     * @param {CallOptions} [options]
     * @returns {Promise<Failure>}
     * @throws {ErrorAnswer} 404: no failed job is in it.
     */
    failure(id: string, { signal }?: CallOptions): Promise<Failure>;
    /**
     * Return the callers that use most, and what each uses of its limits. It needs the scope `admin`.
     *
     * @param {CallersQuery} [query]
     * @param {CallOptions} [options]
     * @returns {Promise<Callers>}
     */
    callers(query?: CallersQuery, { signal }?: CallOptions): Promise<Callers>;
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
    blockCaller(name: string, forS: number, { signal }?: CallOptions): Promise<Caller>;
    /**
     * End the block of a caller. It needs the scope `admin`.
     *
     * @param {string} name
     * @param {CallOptions} [options]
     * @returns {Promise<Caller>}
     * @throws {ErrorAnswer} 404: no such caller.
     */
    unblockCaller(name: string, { signal }?: CallOptions): Promise<Caller>;
    /**
     * Return the types of problems that the server answers with.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<ProblemKind[]>}
     */
    problems({ signal }?: CallOptions): Promise<ProblemKind[]>;
    /**
     * Have the server read its settings again. It needs the scope `admin`, as the next two do.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<Reloaded>} What has changed, and what needs a restart.
     * @throws {ConfigError} The settings have faults: nothing was changed.
     */
    reload(options?: CallOptions): Promise<Reloaded>;
    /**
     * Have the server stop, as SIGTERM does.
     *
     * @param {CallOptions} [options]
     * @returns {Promise<Drained>} How much there is to do.
     */
    drain(options?: CallOptions): Promise<Drained>;
    /**
     * Change the minimum level of the server's log, until the next reload or a restart.
     *
     * @param {"debug" | "info" | "warning" | "error"} level
     * @param {CallOptions} [options]
     * @returns {Promise<Server>}
     */
    setLogLevel(level: "debug" | "info" | "warning" | "error", { signal }?: CallOptions): Promise<Server>;
    /**
     * Pause a queue: more jobs are accepted, and running ones go on.
     *
     * @param {string} name
     * @param {CallOptions & { reason?: string, forS?: number }} [options] `reason` is shown with the queue; after `forS`
     *   seconds it resumes by itself.
     * @returns {Promise<Queue>}
     * @throws {ErrorAnswer} 404: there is no such queue.
     */
    pause(name: string, { signal, reason, forS }?: CallOptions & {
        reason?: string;
        forS?: number;
    }): Promise<Queue>;
    /**
     * Resume a paused queue.
     *
     * @param {string} name
     * @param {CallOptions} [options]
     * @returns {Promise<Queue>}
     */
    resume(name: string, options?: CallOptions): Promise<Queue>;
    /**
     * Change a queue while it runs; no job is lost.
     *
     * @param {string} name
     * @param {QueueChange} changes
     * @param {CallOptions} [options]
     * @returns {Promise<Queue>}
     * @throws {InvalidSubmission} A value is out of bounds.
     */
    changeQueue(name: string, changes: QueueChange, { signal }?: CallOptions): Promise<Queue>;
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
    simulateQueue(name: string, question?: SimulationRequest, { signal }?: CallOptions): Promise<Forecast>;
    #private;
}
export type Problem = {
    type: string;
    title?: string | undefined;
    detail?: string | undefined;
    reason?: string | undefined;
    state?: string | undefined;
    scope?: string | undefined;
    id?: string | undefined;
    retry_after_s?: number | undefined;
    errors?: {
        pointer: string;
        detail: string;
    }[] | undefined;
    faults?: string[] | undefined;
};
export type Documents = import("./openapi.js").components["schemas"];
export type Job = Documents["Job"];
export type JobState = Documents["JobState"];
export type Queue = Documents["Queue"];
export type QueueChange = Documents["QueueChange"];
export type SimulationRequest = Documents["SimulationRequest"];
export type Forecast = Documents["Forecast"];
export type BulkFilter = Documents["BulkFilter"];
export type BulkResult = Documents["BulkResult"];
export type ListFilter = NonNullable<Operations["listJobs"]["parameters"]["query"]>;
export type Operations = import("./openapi.js").operations;
export type JobWithMembers = Operations["getJob"]["responses"][200]["content"]["application/json"];
export type JobType = Operations["getType"]["responses"][200]["content"]["application/json"];
export type Server = Operations["getServer"]["responses"][200]["content"]["application/json"];
export type ProblemKind = Operations["listProblemTypes"]["responses"][200]["content"]["application/json"]["problems"][number];
export type Reloaded = Operations["reloadServer"]["responses"][200]["content"]["application/json"];
export type Drained = Operations["drainServer"]["responses"][202]["content"]["application/json"];
export type Stats = Operations["getStats"]["responses"][200]["content"]["application/json"];
export type StatsQuery = NonNullable<Operations["getStats"]["parameters"]["query"]>;
export type Finding = Operations["listFindings"]["responses"][200]["content"]["application/json"]["findings"][number];
export type Webhook = Operations["listWebhooks"]["responses"][200]["content"]["application/json"]["webhooks"][number];
export type Flow = Documents["Flow"];
export type FlowPage = Operations["listFlows"]["responses"][200]["content"]["application/json"];
export type FlowSummary = FlowPage["flows"][number];
export type FlowFilter = NonNullable<Operations["listFlows"]["parameters"]["query"]>;
export type Schedule = Documents["Schedule"];
export type ScheduleSubmission = Documents["ScheduleSubmission"];
export type Publication = Operations["publish"]["responses"][202]["content"]["application/json"];
export type Topics = Operations["listTopics"]["responses"][200]["content"]["application/json"];
export type ServerLog = Operations["getServerLog"]["responses"][200]["content"]["application/json"];
export type LogQuery = NonNullable<Operations["getServerLog"]["parameters"]["query"]>;
export type ServerSettings = Operations["getServerSettings"]["responses"][200]["content"]["application/json"];
export type Failures = Operations["listFailures"]["responses"][200]["content"]["application/json"];
export type FailureFilter = NonNullable<Operations["listFailures"]["parameters"]["query"]>;
export type Failure = Operations["getFailure"]["responses"][200]["content"]["application/json"];
export type Callers = Operations["listCallers"]["responses"][200]["content"]["application/json"];
export type CallersQuery = NonNullable<Operations["listCallers"]["parameters"]["query"]>;
export type Caller = Operations["blockCaller"]["responses"][200]["content"]["application/json"];
export type MemberOnRequest = "args" | "spec" | "files" | "events";
/**
 * A page of a list; `next_cursor` begins the next one.
 */
export type JobPage = {
    jobs: Job[];
    next_cursor?: string | null;
};
/**
 * The document of a submission, in which an instant may be a `Date`.
 */
export type Submission = Omit<Documents["Submission"], "run_at"> & {
    run_at?: Date | string | null;
};
/**
 * A job of a graph: a submission with a name; its `after` has names of other jobs of the graph.
 */
export type NamedSubmission = Omit<Documents["NamedSubmission"], "run_at"> & {
    run_at?: Date | string | null;
};
/**
 * A graph of jobs, in any order, without files.
 */
export type Graph = {
    jobs: NamedSubmission[];
};
/**
 * A part of a graph: a type, a submission, with `name`, `after` and `on_failure` if it needs them, or another graph.
 */
export type Part = string | (Omit<NamedSubmission, "name"> & {
    name?: string;
}) | Graph;
/**
 * A job's document with what the answer to a submission tells beside it.
 */
export type SubmittedJob = Job & {
    deduplicated: boolean;
};
/**
 * The content of a file: a `Blob`, a `File` (its name is kept), bytes, or a text.
 */
export type FileContent = Blob | ArrayBuffer | ArrayBufferView | string;
/**
 * A file of a submission: its content, or that with the name and the media type that the handler sees.
 */
export type FileSource = FileContent | {
    content: FileContent;
    name?: string;
    type?: string;
};
/**
 * The files of a submission: part name to a file, or to a list of them; or a form's data, which has only files in it.
 */
export type Files = Record<string, FileSource | FileSource[]> | FormData;
export type ClientOptions = {
    /**
     * The API key. Node: defaults to the variable `JOBQUEUE_KEY`; an empty one sends none.
     */
    key?: string | undefined;
    /**
     * How long to wait for an answer, and for the next bytes of it, beside a requested wait.
     * Defaults to 30.
     */
    timeoutS?: number | undefined;
    /**
     * How long a read that is not answered, or only by a proxy, is repeated. Defaults to 5.
     */
    retryReadsForS?: number | undefined;
    /**
     * Sent with every request.
     */
    headers?: Record<string, string> | undefined;
    /**
     * Carries the requests, instead of the global one: for proxies, client certificates, tests.
     */
    fetch?: typeof fetch | undefined;
};
export type CallOptions = {
    /**
     * Ends the call.
     */
    signal?: AbortSignal | undefined;
};
export type OwnSubmitOptions = {
    /**
     * The handler finds them in `ctx.files`.
     */
    files?: Files | undefined;
    /**
     * Your own key for this submission, 1 to 255 printable ASCII characters, instead of a
     * generated one: submitted again under it, even by another program, it is the same job.
     */
    idempotencyKey?: string | undefined;
    /**
     * How long to repeat it after a rejection (by its Retry-After), while no server listens, or
     * when the answer was lost, or a proxy's. It never becomes two jobs, as long as one server runs. Defaults to 0.
     */
    retryForS?: number | undefined;
    /**
     * `submit`: return as soon as the job is terminal, or after this time; defaults to 0. `run`:
     * reject after this time; defaults to no limit.
     */
    waitS?: number | undefined;
};
export type SubmitOptions = OwnSubmitOptions & CallOptions;
export type OwnRunOptions = {
    /**
     * Called for each change of the job, as by `progress`.
     */
    onProgress?: ((progress: JobProgress) => void) | undefined;
};
export type RunOptions = SubmitOptions & OwnRunOptions;
/**
 * The state of a job at one instant. `fraction` (0 to 1) and `note` are what its handler reported last.
 */
export type JobProgress = {
    id: string;
    state: JobState;
    attempt: number;
    fraction: number | null;
    note: string | null;
};
/**
 * The answer to a HEAD; `code` is 202 while the job is live, 200 once it is terminal.
 */
export type JobStatus = {
    code: 200 | 202;
    state: JobState;
    over: boolean;
    etag: string | null;
    retryAfterS: number | null;
};
/**
 * An event. `name` is its kind, `data` its document, `state` the job's state in it, and `over` tells whether it was the
 * job's last one.
 */
export type JobEvent = {
    id: string;
    name: string;
    data: Record<string, any>;
    state: JobState | null;
    over: boolean;
};
/**
 * An event of what is published: `name` is `published`, `data` what was published, `topic` where; `data` is null and
 * `omittedBytes` its size if it is too large for a stream. After an event `reset`, without a topic, some may be missed.
 */
export type TopicEvent = {
    id: string;
    name: string;
    topic: string | null;
    data: any;
    at: string | null;
    omittedBytes: number | null;
};
/**
 * What a call asks for, to be sent after a pause of `afterS`. `quietS` is the extra time without a byte from the server,
 * such as a requested wait.
 */
export type ClientRequest = {
    method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
    target: string;
    headers?: Record<string, string> | undefined;
    body?: string | FormData | undefined;
    afterS?: number | undefined;
    quietS?: number | undefined;
    signal?: AbortSignal | undefined;
};
export type ServerAnswer = {
    status: number;
    headers: Headers;
    text: string;
};
