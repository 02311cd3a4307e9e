/**
 * A submission as a text for other programs: curl, Python, JavaScript, the command line.
 *
 * Rules:
 *
 * 1. Arguments are written from their JSON text, so that no number changes. Only JavaScript's own numbers can't keep them.
 * 2. No text of a job becomes code: shells get it in single quotes, the languages as a literal.
 * 3. Nothing is invisible: control characters and marks of direction are escaped.
 * 4. A key never stands in a text; where keys are needed, it comes from the variable `JOBQUEUE_KEY`.
 */

import {compact, parseJson, piecesOf, quoted} from "./json_text.js";
import {shellQuoted} from "./shell_words.js";

/**
 * @typedef {object} Submission
 * @property {string} type
 * @property {string} args The arguments, as JSON text.
 * @property {Record<string, string|number|object>} options Members beside them, such as `queue`.
 * @property {string} [key] The idempotency key.
 * @property {{part: string, filename: string|null, media_type: string}[]} files Of the job; the server doesn't give them back.
 */

/** Return the submission that a job came from: no instant, no unique value, no key. */
export function submissionOf(job, args, spec, files) {
  const options = {queue: job.queue};
  if (job.priority) options.priority = job.priority;
  if (job.group !== null) options.group = job.group;
  if (spec?.timeout_s != null) options.timeout_s = spec.timeout_s;
  if (job.attempts_max !== 1) options.attempts_max = job.attempts_max;
  if (spec?.ttl_s != null) options.ttl_s = spec.ttl_s;
  return {type: job.type, args: args ?? "{}", options, files: files ?? []};
}

/** Return all four texts. `withKey`: the server wants keys. */
export function snippetsOf(submission, url, withKey) {
  const base = url.replace(/\/$/, "");
  return {
    curl: curlText(submission, base, withKey),
    Python: pythonText(submission, base),
    JavaScript: javaScriptText(submission, base),
    CLI: commandText(submission, base),
  };
}

function curlText(submission, base, withKey) {
  const words = ["curl"];
  if (withKey) words.push('-H "Authorization: Bearer $JOBQUEUE_KEY"');
  if (submission.key) words.push(`-H ${shellQuoted(`Idempotency-Key: ${quoted(submission.key)}`)}`);
  const document = shellQuoted(documentText(submission));
  if (submission.files.length) {
    words.push(`--form-string job=${document}`);
    for (const {part, filename} of submission.files) words.push(`-F ${shellQuoted(`${partOf(part)}=@"${pathOf(filename)}"`)}`);
  } else words.push("-H 'Content-Type: application/json'", `--data-raw ${document}`);
  words.push(shellQuoted(`${base}/v1/jobs`));
  return words.join(" \\\n  ");
}

function documentText({type, args, options}) {
  const members = [`"type":${quoted(type)}`, `"args":${compact(args, parseJson(args))}`];
  for (const [name, value] of Object.entries(options)) members.push(`${quoted(name)}:${literal(value)}`);
  return `{${members.join(",")}}`;
}

function literal(value) {
  return typeof value === "string" ? quoted(value) : JSON.stringify(value);
}

function pythonText({type, args, options, files, key}, base) {
  const given = [pythonString(type), pythonOf(args)];
  for (const [name, value] of Object.entries(options)) given.push(`${name}=${pythonOption(name, value)}`);
  if (key) given.push(`idempotency_key=${pythonString(key)}`);
  if (files.length) given.push(`files={${byPart(files).map(([part, names]) => `${pythonString(part)}: [${names.map(pythonString).join(", ")}]`).join(", ")}}`);
  return [
    ...(options.run_at === undefined ? [] : ["from datetime import datetime", ""]),
    "from jobqueue.client import SyncClient",
    "",
    `with SyncClient(${pythonString(base)}) as client:`,
    `    job = client.submit(\n        ${given.join(",\n        ")},\n    )`,
    "    print(job.id)",
    "",
  ].join("\n");
}

function pythonOption(name, value) {
  if (name === "run_at") return `datetime.fromisoformat(${pythonString(value)})`;
  return typeof value === "string" ? pythonString(value) : pythonOf(JSON.stringify(value));
}

/** Write a string as a Python literal: as JSON, but an escaped character beyond 16 bits is one there, not two. */
function pythonString(value) {
  return quoted(value).replace(/\\(?:u(d[89ab]..)\\u(d[c-f]..)|.)/g, (escape, high, low) => {
    if (!high) return escape;
    const code = String.fromCharCode(parseInt(high, 16), parseInt(low, 16)).codePointAt(0);
    return `\\U${code.toString(16).padStart(8, "0")}`;
  });
}

/** Write JSON as a Python expression. */
function pythonOf(text) {
  const words = {true: "True", false: "False", null: "None"};
  let written = "";
  for (const {piece, node, key} of piecesOf(parseJson(text))) {
    if (piece === "key") written += `${pythonString(key)}: `;
    else if (piece === "comma") written += ", ";
    else if (piece !== "scalar") written += (node.kind === "object" ? "{}" : "[]")[piece === "open" ? 0 : 1];
    else if (node.kind === "string") written += pythonString(JSON.parse(text.slice(node.start, node.end)));
    else written += words[node.kind] ?? text.slice(node.start, node.end);
  }
  return written;
}

function javaScriptText({type, args, options, files, key}, base) {
  const members = [`type: ${quoted(type)}`, `args: ${javaScriptOf(args)}`];
  for (const [name, value] of Object.entries(options)) members.push(`${name}: ${literal(value)}`);
  const given = byPart(files).map(([part, names]) => `${quoted(part)}: [${names.map((name) => `await openAsBlob(${quoted(name)})`).join(", ")}]`);
  const beside = [...(files.length ? [`files: { ${given.join(", ")} }`] : []), ...(key ? [`idempotencyKey: ${quoted(key)}`] : [])];
  return [
    ...(files.length ? [importText("openAsBlob", "node:fs")] : []),
    importText("Client", "./jobqueue.js"),
    "",
    `const client = new Client(${quoted(base)});`,
    `const job = await client.submit({\n  ${members.join(",\n  ")},\n}${beside.length ? `, { ${beside.join(", ")} }` : ""});`,
    "console.info(job.id);",
    "",
  ].join("\n");
}

const importText = (name, module) => `import { ${name} } from ${quoted(module)};`;

/** Write JSON as a JavaScript expression: `__proto__` is a member there, not the prototype. */
function javaScriptOf(text) {
  let written = "";
  for (const {piece, node, key} of piecesOf(parseJson(text))) {
    if (piece === "key") written += key === "__proto__" ? '["__proto__"]: ' : `${quoted(key)}: `;
    else if (piece === "comma") written += ", ";
    else if (piece !== "scalar") written += (node.kind === "object" ? "{}" : "[]")[piece === "open" ? 0 : 1];
    else written += node.kind === "string" ? quoted(JSON.parse(text.slice(node.start, node.end))) : text.slice(node.start, node.end);
  }
  return written;
}

const FLAGS = {
  ...{queue: "--queue", priority: "--priority", group: "--group", timeout_s: "--timeout", attempts_max: "--attempts", ttl_s: "--ttl"},
  ...{delay_s: "--delay", run_at: "--at", start_by_s: "--start-by", unique: "--unique"},
};

/** The unique value with its mode: without one, a colon in the value would begin it. */
const flagValue = (name, value) => (name === "unique" ? `${value.value ?? value}:${value.mode ?? "return"}` : String(value));

function commandText({type, args, options, files, key}, base) {
  const words = ["jobqueue submit", `--url=${shellQuoted(base)}`, `--args=${shellQuoted(compact(args, parseJson(args)))}`];
  for (const [name, value] of Object.entries(options)) {
    const text = flagValue(name, value);
    if (!text.includes("\0")) words.push(`${FLAGS[name]}=${shellQuoted(text)}`); // no argument can have one
  }
  if (key) words.push(`--idempotency-key=${shellQuoted(key)}`);
  for (const {part, filename} of files) words.push(`--file=${shellQuoted(`${partOf(part)}=${pathOf(filename)}`)}`);
  return [...words, `-- ${shellQuoted(type)}`].join(" \\\n  ");
}

/** Return the texts that a file's parts have: each part once, with its files. */
function byPart(files) {
  const parts = new Map();
  for (const {part, filename} of files) parts.set(part, [...(parts.get(part) ?? []), pathOf(filename)]);
  return [...parts];
}

/** Return a part's name for a flag, in which `=` would begin the path of another file. */
function partOf(part) {
  return /^[\w.-]+$/.test(part) ? part : "PART";
}

/** Return a path for a file of a job: in the current folder, whatever its name. */
function pathOf(filename) {
  return `./${(filename ?? "FILE").replaceAll(/[/"\\;,\u0000-\u001f]/g, "_")}`;
}

/** Tell what a text can't say: values that are not shown, files, numbers. */
export function warningsOf(submission) {
  const warnings = [];
  if (submission.args.includes("•••")) warnings.push("redacted");
  if (submission.files.length) warnings.push("files");
  const numbers = [...piecesOf(parseJson(submission.args))].filter(({piece, node}) => piece === "scalar" && node.kind === "number");
  if (numbers.some(({node}) => !sameInJavaScript(submission.args.slice(node.start, node.end)))) warnings.push("numbers");
  return warnings;
}

/** Whether a number of JSON is the same one in JavaScript. */
export function sameInJavaScript(text) {
  const number = Number(text);
  return Number.isFinite(number) && (Number.isSafeInteger(number) || !/^-?\d+$/.test(text));
}
