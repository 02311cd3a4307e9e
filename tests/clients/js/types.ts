/** A program that uses the types of the client: it compiles, and each line after a `@ts-expect-error` is an error. */

import { chain, Client, group, InvalidSubmission, JobFailed, Refused } from "ephemeral-jobqueue";
import type { Flow, Graph, Job, JobProgress, ListFilter, Schedule, Submission } from "ephemeral-jobqueue";
import type { components, operations } from "ephemeral-jobqueue/openapi";

const client = new Client("http://127.0.0.1:8080", { key: "jq_a_b", timeoutS: 5, fetch: globalThis.fetch });
const submission: Submission = { type: "echo", args: { any: ["thing"] }, run_at: new Date(), unique: { value: "a", mode: "debounce" } };
const told: JobProgress[] = [];

export async function main(signal: AbortSignal): Promise<number> {
  const job = await client.submit(submission, { files: { a: new Blob([]), b: ["text", { content: new Uint8Array(1), name: "x" }] }, signal });
  const same: Job = job;
  const isOld: boolean = job.deduplicated;
  const document: components["schemas"]["Job"] = await client.get(same.id, { signal });
  const state: "waiting" | "delayed" | "queued" | "running" | "succeeded" | "failed" | "cancelled" | "expired" = document.state;
  const args: unknown = (await client.get(job.id, { include: ["args", "files"] })).args;
  const filter: ListFilter = { state: "failed", limit: 5 };
  for await (const each of client.iterAll(filter)) if (each.error !== null) console.log(each.error.code);
  for await (const { fraction, note } of client.progress(job.id)) console.log((fraction ?? 0) * 100, note?.length);
  for await (const event of client.events()) if (event.over) break;
  const outcomes = await client.submitMany([submission]);
  const ids = outcomes.filter((outcome) => typeof outcome === "string");
  const found = (await client.getMany(ids)).get(ids[0]);
  if (found !== undefined && !(found instanceof Error)) console.log(found.result);
  await client.run({ type: "echo" }, { onProgress: (each) => told.push(each), waitS: 5, idempotencyKey: "k" });
  const [queue] = await client.queues();
  await client.changeQueue(queue.name, { workers: 5, discipline: "fair" });
  const graph: Graph = { jobs: [{ name: "a", type: "echo", run_at: new Date() }, { name: "b", type: "echo", after: ["a"], on_failure: "run" }] };
  const flow: Flow = await client.waitFlow((await client.submitFlow(graph, { idempotencyKey: "f", retryForS: 5 })).id, { timeoutS: 5 });
  console.log(flow.counts.succeeded, flow.jobs[0].after.length, (await client.flow(flow.id, { includeJobs: true })).jobs[0].job?.id);
  for await (const each of client.iterFlows({ state: "failed" })) console.log(each.ended.failed, each.live);
  for await (const each of client.iterFlowJobs(flow.id, { includeJobs: true, limit: 10 })) console.log(each.name, each.job?.id);
  for await (const { name, data } of client.flowEvents(flow.id)) console.log(name, data.state);
  const made: Graph = chain("echo", group("echo", { type: "echo", name: "b", run_at: new Date() }), graph);
  console.log((await client.flows({ limit: 5 })).next_cursor, (await client.flow(flow.id, { limit: 5, cursor: "c" })).next_cursor, made.jobs.length);
  const schedule: Schedule = await client.putSchedule("nightly", { type: "echo", cron: "0 3 * * *", tz: "Europe/Berlin" });
  console.log(schedule.next_runs?.[0], (await client.runSchedule("nightly")).state);
  const response: Response = await client.download(job.id);
  try {
    await client.retryAll({ type: "echo" });
  } catch (error) {
    if (error instanceof InvalidSubmission) return error.errors.map(({ pointer }) => pointer).length;
    if (error instanceof Refused) return error.retryAfterS;
    if (error instanceof JobFailed) console.log(error.code, error.reason);
  }
  return [isOld, state, args, response.ok].length;
}

export async function wrong(): Promise<void> {
  // @ts-expect-error: a submission has a type
  await client.submit({ args: {} });
  // @ts-expect-error: no such option of a job
  await client.submit({ type: "echo", delay: 5 });
  // @ts-expect-error: no such member
  await client.get("j", { include: ["arg"] });
  // @ts-expect-error: no such state
  await client.list({ state: "done" });
  // @ts-expect-error: no such discipline
  await client.changeQueue("default", { discipline: "random" });
  // @ts-expect-error: a job of a graph has a name
  await client.submitFlow({ jobs: [{ type: "echo" }] });
  // @ts-expect-error: no such state of a flow
  await client.flows({ state: "waiting" });
  // @ts-expect-error: a part of a graph has a type
  chain({ name: "a" });
  // @ts-expect-error: no such rule for jobs that overlap
  await client.putSchedule("nightly", { type: "echo", every_s: 60, overlap: "wait" });
  // @ts-expect-error: a signal is no number
  await client.wait("j", { signal: 5 });
  // @ts-expect-error: null is to be told apart
  console.log((await client.get("j")).error.code);
}

export type Found = operations["submitJob"]["responses"][202];
