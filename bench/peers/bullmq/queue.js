// A job queue of Fastify, BullMQ and Redis, as their documentation puts it together.
//
//	node queue.js web|worker REDIS_SOCKET
//
// The same resources as ../go/main.go, without the bench's handles.
"use strict";

const { Queue, Worker } = require("bullmq");

const [part, path] = process.argv.slice(2);
const connection = { path, maxRetriesPerRequest: null };

function work() {
  new Worker("jobs", async (job) => job.data.args, { connection, concurrency: 256 });
}

async function serve() {
  const queue = new Queue("jobs", { connection });
  const app = require("fastify")();

  app.post("/jobs", async (request, reply) => {
    const { type, args } = request.body;
    const job = await queue.add(type, { args });
    reply.code(202).header("Location", `/jobs/${job.id}`);
    return { id: job.id, state: "queued" };
  });

  app.get("/jobs/:id", async (request, reply) => {
    const job = await queue.getJob(request.params.id);
    if (!job) {
      reply.code(404);
      return { detail: "no such job" };
    }
    const over = Boolean(job.finishedOn);
    reply.code(over ? 200 : 202);
    return { id: job.id, state: over ? "succeeded" : "queued", result: over ? job.returnvalue : null };
  });

  await app.listen({ host: "127.0.0.1", port: 0, backlog: 4096 });
  console.log("port", app.server.address().port);
}

if (part === "worker") {
  work();
} else {
  serve();
}
