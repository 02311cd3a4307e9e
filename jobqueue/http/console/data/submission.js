/**
 * A submission as the form has it: its options as a schema, the request that sends it, and a job's arguments for a new one.
 *
 * Rules:
 *
 * 1. Arguments are written as they were entered: no number changes (`exact_json`).
 * 2. With files the request is multipart/form-data: the job first, as the server wants it.
 * 3. A value that the server hides is never sent: it becomes a `Draft`, which has to be entered anew.
 */

import {write} from "./exact_json.js";
import {objectOf} from "./json_schema.js";
import {Draft} from "./schema_check.js";

/** What the server shows in place of a redacted value. */
export const HIDDEN = "•••";

const KEY_LENGTH_MAX = 255;
const DURATION_S_MAX = 2_592_000;

const text = (maxLength, description) => ({type: "string", minLength: 1, maxLength, description});
const seconds = (description) => ({type: "number", exclusiveMinimum: 0, maximum: DURATION_S_MAX, description});

/**
 * Return the schema of the options.
 *
 * @param {string[]} queues Names of the queues.
 * @param {object} words Descriptions by name, of the page's texts.
 */
export function optionsSchema(queues, words) {
  return {
    type: "object",
    additionalProperties: false,
    properties: {
      queue: queues.length ? {enum: queues, description: words.queue} : text(100, words.queue),
      priority: {type: "integer", minimum: 0, maximum: 9, description: words.priority},
      delay_s: {type: "number", minimum: 0, maximum: DURATION_S_MAX, description: words.delay_s},
      run_at: {type: "string", format: "date-time", description: words.run_at},
      start_by_s: seconds(words.start_by_s),
      timeout_s: seconds(words.timeout_s),
      attempts_max: {type: "integer", minimum: 1, maximum: 100, description: words.attempts_max},
      group: text(200, words.group),
      unique: {
        description: words.unique,
        anyOf: [
          {title: words.uniqueValue, ...text(200)},
          {
            title: words.uniqueMode,
            type: "object",
            properties: {value: text(200), mode: {enum: ["return", "reject", "replace", "debounce"]}},
            required: ["value", "mode"],
            additionalProperties: false,
          },
        ],
      },
      ttl_s: seconds(words.ttl_s),
      idempotency_key: {type: "string", minLength: 1, maxLength: KEY_LENGTH_MAX, pattern: "^[ -~]+$", description: words.idempotency_key},
    },
  };
}

/** The schema of a type's arguments: an object, whatever the server says. */
export function argumentsSchema(type) {
  const schema = type?.arguments;
  return schema !== null && typeof schema === "object" && schema.type === "object" ? schema : {type: "object", $defs: schema?.$defs};
}

/**
 * Return the request of a submission: `body`, JSON text, or `form`, and `headers`.
 *
 * @param {string} type
 * @param {any} args Without drafts.
 * @param {object} options As `optionsSchema` has them.
 * @param {{part: string, file: File}[]} files
 */
export function requestOf(type, args, options, files) {
  const {idempotency_key: key, ...members} = options;
  const headers = key === undefined ? {} : {"Idempotency-Key": `"${key.replace(/["\\]/g, "\\$&")}"`};
  const body = write({type, args, ...members});
  if (!files.length) return {body, headers};
  const form = new FormData();
  form.append("job", new Blob([body], {type: "application/json"}));
  for (const {part, file} of files) form.append(part, file, file.name);
  return {form, headers};
}

/**
 * Return the submission of a form as the snippets take it.
 *
 * @param {string} type
 * @param {{args: any, options: object, files: {part: string, file: File}[]}} form Without drafts.
 */
export function snippetOf(type, {args, options, files}) {
  const named = files.map(({part, file}) => ({part, filename: file.name, media_type: file.type}));
  // The numbers of options are small: plain ones of JavaScript do.
  const {idempotency_key: key, ...members} = JSON.parse(write(options));
  return {type, args: write(args), options: members, files: named, key};
}

/**
 * Sort the server's faults by the form that has their fields.
 *
 * @param {{pointer: string, detail: string}[]} errors Of a 422; pointers are of the whole submission.
 * @returns {{args: object[], options: object[], others: object[]}} Pointers of `args` are of the arguments.
 */
export function faultsByForm(errors) {
  const sorted = {args: [], options: [], others: []};
  for (const {pointer = "", detail = ""} of errors ?? []) {
    if (pointer === "/args" || pointer.startsWith("/args/")) sorted.args.push({pointer: pointer.slice(5), detail});
    else (pointer === "" || pointer === "/type" ? sorted.others : sorted.options).push({pointer, detail});
  }
  return sorted;
}

/**
 * Return the arguments of a job for another one: what the server hides has to be entered anew.
 *
 * @param {any} args As `?include=args` has them, read by `exact_json`.
 * @param {string[]} redacted Names that the type hides, without or with dots.
 * @param {string} fault What is told at such a field.
 */
export function argumentsAgain(args, redacted, fault) {
  if (args === HIDDEN || args === null || typeof args !== "object") return {args: {}, hidden: args === HIDDEN ? ["/"] : []};
  const names = new Set(redacted.map((name) => name.split(".").at(-1)));
  const hidden = [];
  return {args: again(args, "", null), hidden};

  function again(value, pointer, name) {
    if (value === HIDDEN && (name === null || names.has(name))) {
      hidden.push(pointer);
      return new Draft("", fault);
    }
    if (Array.isArray(value)) return value.map((each, n) => again(each, `${pointer}/${n}`, name));
    if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) return value;
    return objectOf(Object.entries(value).map(([key, each]) => [key, again(each, `${pointer}/${key}`, key)]));
  }
}
