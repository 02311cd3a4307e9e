/**
 * Exact JSON: reads and writes JSON without changing a number.
 *
 * JavaScript's own numbers end at 2^53, and know no difference between 1 and 1.0. Here a number that JavaScript would
 * write otherwise than it was given keeps its text, as an `ExactNumber`.
 */

import {parseJson} from "./json_text.js";

/** A number by its text. */
export class ExactNumber {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }

  /** A conversion by other code loses digits rather than the value. */
  toJSON() {
    return Number(this.text);
  }
}

/** A text is not JSON; `message` says where. */
export class JsonFault extends Error {}

/** The greatest depth that the server accepts (limits of the body). */
export const DEPTH_MAX = 32;

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;

/**
 * Return the value of a number's text: a number, or an `ExactNumber`. Null: it is no JSON number.
 *
 * @param {string} text
 * @returns {number | ExactNumber | null}
 */
export function numberOf(text) {
  if (!NUMBER.test(text)) return null;
  const value = Number(text);
  return String(value) === text ? value : new ExactNumber(text);
}

/** Whether a value is a number of either form. */
export const isNumber = (value) => typeof value === "number" || value instanceof ExactNumber;

/** Whether a number is an integer, as JSON Schema has it: 1.0 is one. */
export function isInteger(value) {
  if (typeof value === "number") return Number.isInteger(value);
  return /^-?\d+$/.test(value.text) || Number.isInteger(Number(value.text));
}

/**
 * Compare two numbers of either form, whole ones exactly: negative, 0 or positive.
 *
 * @returns {number}
 */
export function compareNumbers(one, other) {
  const [a, b] = [String(one), String(other)];
  if (/^-?\d{1,400}$/.test(a) && /^-?\d{1,400}$/.test(b)) {
    const difference = BigInt(a) - BigInt(b);
    return difference < 0n ? -1 : difference > 0n ? 1 : 0;
  }
  return Number(a) - Number(b);
}

/**
 * Read JSON; raises `JsonFault`.
 *
 * @param {string} text
 */
export function parse(text) {
  try {
    JSON.parse(text);
  } catch {
    throw new JsonFault(faultIn(text));
  }
  const mark = unusedMark(text);
  const marked = text.replace(STRING_OR_NUMBER, (token) =>
    token[0] === '"' || !(numberOf(token) instanceof ExactNumber) ? token : `"${mark}${token}"`,
  );
  const value = JSON.parse(marked, (_, each) =>
    typeof each === "string" && each.startsWith(mark) ? new ExactNumber(each.slice(mark.length)) : each,
  );
  if (depthOf(value) > DEPTH_MAX) throw new JsonFault(`is nested more than ${DEPTH_MAX} levels deep`);
  return value;
}

/**
 * Write JSON. Members that are undefined are left out.
 *
 * @param {any} value
 * @param {number} [indent] Spaces of a level; by default all is in one line.
 * @returns {string}
 */
export function write(value, indent) {
  const mark = unusedMark(JSON.stringify(value, replacer("")) ?? "");
  const marked = JSON.stringify(value, replacer(mark), indent) ?? "null";
  return marked.replaceAll(new RegExp(`"${mark}([-+.0-9eE]+)"`, "g"), "$1");
}

/** A replacer of JSON.stringify that writes exact numbers as texts after a mark. `this` is the object that has the key. */
function replacer(mark) {
  return function (key, value) {
    const own = this[key];
    return own instanceof ExactNumber ? mark + own.text : value;
  };
}

/** The depth of a value, at most one more than the bound. */
export function depthOf(value, bound = DEPTH_MAX) {
  if (value === null || typeof value !== "object" || value instanceof ExactNumber) return 0;
  if (bound <= 0) return 1;
  let deepest = 0;
  for (const each of Object.values(value)) deepest = Math.max(deepest, depthOf(each, bound - 1));
  return deepest + 1;
}

/** A prefix that is nowhere in a text. */
function unusedMark(text) {
  let mark = "number:";
  while (text.includes(mark)) mark = `number${Math.random().toString(36).slice(2)}:`;
  return mark;
}

/** What is wrong with a text that is not JSON, with line and column. */
function faultIn(text) {
  if (!text.trim()) return "is empty: JSON needs a value";
  try {
    parseJson(text);
  } catch (fault) {
    const [, at, what] = /^at character (\d+): (.*)$/s.exec(fault.message) ?? [null, "1", fault.message];
    const before = text.slice(0, Number(at) - 1).split("\n");
    return `is no JSON: line ${before.length}, column ${before.at(-1).length + 1}: ${what}`;
  }
  return "is no JSON";
}
