/**
 * The filter language of jobs: `type:thumb state:failed arg.user:17 older:10m`.
 *
 * Rules:
 *
 * 1. A filter is conditions with spaces between them, each `NAME:VALUE`; all of them must match.
 * 2. A value with spaces stands in quotes; in it `\"` is a quote and `\\` a backslash. A value of `arg.PATH` in quotes is
 *    only compared with texts, as in the API.
 * 3. A filter with a fault matches nothing: the fault names its place, and what would be right there.
 * 4. A text has one meaning: that of the list (`queryOf`) and that of an action on all that match (`bulkOf`).
 */

import {STRINGS} from "../strings.js";
import {nearest} from "./nearest.js";
import {STATES} from "./states.js";

const T = STRINGS.filter;

export const FILTER_LENGTH_MAX = 2000;
export const ERRORS = ["handler_error", "timed_out", "worker_crashed", "rejected", "bad_result", "result_too_large", "shutdown", "files_lost", "parent_failed"];
const TEXT_MAX = 200;
const ARGS_MAX = 8;
const PATH_DEPTH_MAX = 8;
const ID_LENGTH = 22;
const AGO_S_MAX = 30 * 24 * 3600;
const UNITS_S = {s: 1, m: 60, h: 3600, d: 86400};
const DURATION = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/;
const INSTANT = /^\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d:\d\d)?)?$/;

/** The conditions: the key of each in the API, and what checks its value. */
export const QUALIFIERS = {
  state: {key: "state", check: (value) => oneOf(value, STATES, "state")},
  type: {key: "type", check: (value) => text(value, "type")},
  queue: {key: "queue", check: (value) => text(value, "queue")},
  group: {key: "group", check: (value) => text(value, "group")},
  id: {key: "id_prefix", check: idPrefix},
  parent: {key: "parent", check: wholeId},
  error: {key: "error", check: (value) => oneOf(value, ERRORS, "error")},
  "message~": {key: "message", check: (value) => text(value, "message~")},
  older: {key: "older", check: duration},
  newer: {key: "newer", check: duration},
  since: {key: "since", check: instant},
  until: {key: "until", check: instant},
  failure: {key: "failure", check: (value) => text(value, "failure")},
  sort: {key: "sort", check: (value) => oneOf(value, ["newest", "oldest"], "sort")},
};
const NAMES = Object.keys(QUALIFIERS);
const SYNONYMS = new Map(Object.entries({
  ...{message: "message~", job: "id", id_prefix: "id", code: "error", after: "since", before: "until"},
  ...{order: "sort", name: "type", status: "state", age: "older"},
}));

/**
 * @typedef {{name: string, value: string, quoted: boolean, start: number, end: number}} Term One condition, and its place.
 * @typedef {{start: number, end: number, detail: string, instead: string|null}} Fault `instead` is a text for its place.
 */

/** Parse a filter. @returns {{text: string, terms: Term[], faults: Fault[]}} */
export function parseFilter(text) {
  if (text.length > FILTER_LENGTH_MAX) {
    const detail = T.tooLong(FILTER_LENGTH_MAX, text.length);
    return {text, terms: [], faults: [{start: FILTER_LENGTH_MAX, end: text.length, detail, instead: ""}]};
  }
  const terms = [];
  const faults = [];
  for (const token of tokens(text)) {
    const fault = token.fault ?? faultOf(token, terms);
    if (fault) faults.push({start: token.start, end: token.end, instead: null, ...fault});
    else terms.push(token);
  }
  return {text, terms, faults};
}

/** Yield the parts of a filter: name, value, and where they stand. */
function* tokens(text) {
  const space = /\s*/y;
  const part = /(?:([^\s":]*):)?(?:"((?:[^"\\]|\\.)*)("?)(\S*)|([^\s"]\S*)?)/sy;
  for (let at = 0; ; at = part.lastIndex) {
    space.lastIndex = at;
    space.exec(text);
    if (space.lastIndex >= text.length) return;
    part.lastIndex = space.lastIndex;
    const [whole, name, inQuotes, closing, after, bare] = part.exec(text);
    const start = space.lastIndex;
    const token = {name: name ?? "", named: name !== undefined, start, end: start + whole.length, quoted: inQuotes !== undefined};
    token.value = token.quoted ? inQuotes.replace(/\\(.)/gs, "$1") : (bare ?? "");
    const opened = start + (name === undefined ? 0 : name.length + 1);
    if (token.quoted && !closing) token.fault = {start: opened, detail: T.openQuote, instead: `${text.slice(opened).trimEnd()}"`};
    else if (after) token.fault = {start: token.end - after.length, detail: T.afterQuote, instead: ` ${after}`};
    yield token;
  }
}

/** Return what is wrong with a part, or null; a synonym is given its name. */
function faultOf(token, before) {
  if (!token.named) return unnamed(token);
  const isArg = token.name.startsWith("arg.");
  if (!isArg) token.name = SYNONYMS.get(token.name.toLowerCase()) ?? token.name.toLowerCase();
  if (!isArg && !NAMES.includes(token.name)) return unknown(token);
  if (before.some(({name}) => name === token.name)) return {detail: T.twice(shown(token.name)), instead: ""};
  const fault = isArg ? argFault(token, before) : QUALIFIERS[token.name].check(token.value);
  if (fault === null || fault.whole) return fault;
  return {...fault, start: token.start + token.name.length + 1};
}

function unknown({name, start}) {
  const near = name === "arg" ? "arg.NAME" : nearest(name, [...NAMES, ...SYNONYMS.keys()]);
  const detail = T.unknown(shown(name) || T.empty, near ? T.meant(`${near}:`) : T.known([...NAMES, "arg.NAME"]));
  return {end: start + name.length + 1, detail, instead: near && near !== "arg.NAME" ? `${near}:` : null};
}

function unnamed(token) {
  const {value} = token;
  if (value.length === ID_LENGTH && idPrefix(value) === null) {
    [token.name, token.named] = ["id", true];
    return null;
  }
  if (NAMES.includes(value)) return {detail: T.noValue(value), instead: `${value}:`};
  return {detail: T.unnamed(shown(value)), instead: STATES.includes(value) ? termOf("state", value) : termOf("message~", value)};
}

function argFault({name, value}, before) {
  const names = name.slice("arg.".length).split(".");
  const isPath = name.length <= TEXT_MAX && names.length <= PATH_DEPTH_MAX && names.every(Boolean);
  if (!isPath) return {detail: T.path(PATH_DEPTH_MAX), whole: true};
  if (before.filter((term) => term.name.startsWith("arg.")).length >= ARGS_MAX) return {detail: T.argsMax(ARGS_MAX), whole: true};
  return value.length > TEXT_MAX ? {detail: T.argMax(TEXT_MAX)} : null;
}

function oneOf(value, words, name) {
  if (words.includes(value)) return null;
  const near = words.includes(value.toLowerCase()) ? value.toLowerCase() : nearest(value, words);
  return {detail: T.noWord(shown(value), name, near ? T.meant(near) : T.known(words)), instead: near};
}

function text(value, name) {
  if (!value) return {detail: T.missing(T.qualifiers[name]), whole: true};
  return value.length > TEXT_MAX ? {detail: T.textMax(TEXT_MAX, value.length)} : null;
}

function idPrefix(value) {
  return /^[-0-9A-Z_a-z]{1,22}$/.test(value) ? null : {detail: T.id(ID_LENGTH), whole: true};
}

function wholeId(value) {
  return value.length === ID_LENGTH && idPrefix(value) === null ? null : {detail: T.wholeId(ID_LENGTH), whole: true};
}

function duration(value) {
  const seconds = secondsOf(value);
  if (seconds === null) return {detail: T.duration(shown(value) || T.empty), instead: /^\d{1,9}$/.test(value) ? `${value}s` : null};
  return seconds > AGO_S_MAX ? {detail: T.longAgo, instead: "30d"} : null;
}

function instant(value) {
  if (DURATION.test(value)) return duration(value);
  const isInstant = INSTANT.test(value) && !Number.isNaN(Date.parse(value));
  return isInstant ? null : {detail: T.instant(shown(value) || T.empty), whole: true};
}

/** Return the seconds of a duration such as `10m`, or null. */
function secondsOf(value) {
  const match = DURATION.exec(value);
  if (!match) return null;
  return match[2] === "ms" ? Number(match[1]) / 1000 : Number(match[1]) * UNITS_S[match[2]];
}

function shown(value) {
  return value.length > 40 ? `${value.slice(0, 40)}…` : value;
}

/** Write a condition, with quotes where its value needs them. */
export function termOf(name, value, quoted = false) {
  const plain = /^[^\s"][^\s]*$/u.test(value) && !quoted;
  return `${name}:${plain ? value : `"${value.replace(/[\\"]/g, "\\$&")}"`}`;
}

/** Write the filter of an object, such as `{type: "thumb", state: "failed"}`: for links from other pages. */
export function filterText(conditions) {
  const given = Object.entries(conditions).filter(([, value]) => value !== undefined && value !== null);
  return given.map(([name, value]) => termOf(name, String(value))).join(" ");
}

/** Return a filter's text with one condition replaced, added, or (null) removed. */
export function withTerm(filter, name, value) {
  const kept = filter.terms.filter((term) => term.name !== name).map((term) => termOf(term.name, term.value, term.quoted));
  return [...kept, ...(value === null ? [] : [termOf(name, value)])].join(" ");
}

/** Return the query of the list for a filter without faults; `now` is in Unix milliseconds. */
export function queryOf(filter, now) {
  const query = {};
  for (const {name, value, quoted} of filter.terms) {
    if (name.startsWith("arg.")) query[name] = quoted ? JSON.stringify(value) : value;
    else if (name === "message~") query["message~"] = value;
    else if (["older", "until"].includes(name)) query.until = earlier(query.until, instantOf(value, now));
    else if (["newer", "since"].includes(name)) query.since = later(query.since, instantOf(value, now));
    else query[QUALIFIERS[name].key] = value;
  }
  return query;
}

/**
 * Return the body of an action on all jobs that match, and notes on differences to the list.
 *
 * @returns {{body: object, notes: string[], fault: string|null}} With a fault no action is possible.
 */
export function bulkOf(filter, now) {
  const body = {};
  const notes = [];
  let fault = null;
  for (const {name, value, quoted} of filter.terms) {
    if (name.startsWith("arg.")) {
      const scalar = quoted ? value : scalarOf(value);
      if (typeof scalar === "number" && !sameNumber(value, scalar)) fault = T.largeNumber(value);
      if (typeof scalar !== "string") notes.push(T.scalar(name, value, scalar === null ? "null" : typeof scalar));
      body.args = {...body.args, [name.slice("arg.".length)]: scalar};
    } else if (name === "older") body.older_than_s = secondsOf(value);
    else if (name === "until") body.until = instantOf(value, now);
    else if (name === "newer" || name === "since") body.since = later(body.since, instantOf(value, now));
    else body[QUALIFIERS[name].key] = value;
  }
  if (Object.keys(body).every((key) => key === "sort")) fault = T.noCondition;
  return {body, notes, fault};
}

/** Return the JSON scalar that a text stands for, or the text. */
function scalarOf(value) {
  try {
    const scalar = JSON.parse(value);
    return typeof scalar === "object" && scalar !== null ? value : scalar;
  } catch {
    return value;
  }
}

function sameNumber(text, number) {
  return Number.isFinite(number) && (!/^-?\d+$/.test(text) || Number.isSafeInteger(number));
}

function instantOf(value, now) {
  const ago = secondsOf(value);
  return new Date(ago === null ? Date.parse(value) : now - ago * 1000).toISOString();
}

const earlier = (a, b) => (a === undefined || b < a ? b : a);
const later = (a, b) => (a === undefined || b > a ? b : a);
