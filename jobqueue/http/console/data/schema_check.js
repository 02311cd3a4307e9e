/**
 * Checks a value by its JSON Schema, before it is sent: each fault with the JSON pointer of its place.
 *
 * Rules:
 *
 * 1. The server decides. What is not understood here is not a fault, so nothing that the server takes is refused.
 * 2. The work is bounded: at most `FAULTS_MAX` faults, `VALUES_MAX` values, `DEPTH_MAX` levels.
 * 3. A pattern is tried only if it is cheap: no group is repeated, at most two parts are repeated without a bound, and
 *    the text is short. A hostile pattern would hold up the browser.
 * 4. The pattern of the server's language may differ: one that JavaScript can't read is left to the server.
 */

import {DEPTH_MAX, ExactNumber, compareNumbers, isInteger, isNumber} from "./exact_json.js";
import {formOf, membersOf, moreMembersOf, objectOf} from "./json_schema.js";

export const FAULTS_MAX = 50;
const VALUES_MAX = 20_000;
const PATTERN_TEXT_MAX = 1000;

/** What was entered into a field, and can't be a value yet. */
export class Draft {
  /**
   * @param {string} text
   * @param {string} fault What is wrong with it.
   */
  constructor(text, fault) {
    this.text = text;
    this.fault = fault;
  }
}

/** A member of a pointer, escaped as RFC 6901 has it. */
export const step = (name) => `/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;

/**
 * Return what is wrong with a value.
 *
 * @param {any} value
 * @param {any} schema
 * @param {object} [root] The schema that has the definitions.
 * @returns {{pointer: string, detail: string}[]}
 */
export function faultsOf(value, schema, root = schema) {
  return faultsWithin({values: VALUES_MAX}, value, schema, root);
}

/** As `faultsOf`, within a budget of values that all parts of unions share: else unions of unions are tried without end. */
function faultsWithin(budget, value, schema, root) {
  const check = new Check(root, budget);
  check.value(value, schema, "", 0);
  return check.faults;
}

class Check {
  constructor(root, budget) {
    this.root = root;
    this.faults = [];
    this.budget = budget;
  }

  add(pointer, detail) {
    if (this.faults.length < FAULTS_MAX) this.faults.push({pointer, detail});
  }

  value(value, given, pointer, depth) {
    this.budget.values -= 1;
    if (this.budget.values < 0 || depth > DEPTH_MAX || this.faults.length >= FAULTS_MAX) return;
    if (value instanceof Draft) return this.add(pointer, value.fault);
    if (value === undefined) return this.add(pointer, "is missing: enter a value");
    const form = formOf(given, this.root);
    if (value === null) {
      if (!form.nullable && form.kind !== "any") this.add(pointer, `is null: expected ${expected(form)}`);
      return undefined;
    }
    return this.nonNull(value, form, pointer, depth);
  }

  nonNull(value, form, pointer, depth) {
    const {kind, schema} = form;
    if (kind === "union") return this.union(value, form, pointer, depth);
    if (kind === "enum") {
      const known = form.choices.some((each) => same(each, value));
      return known ? undefined : this.add(pointer, `is none of: ${form.choices.slice(0, 20).map((each) => JSON.stringify(each)).join(", ")}`);
    }
    if (kind === "any") return this.inner(value, {}, pointer, depth);
    if (!isOfKind(value, kind)) return this.add(pointer, `is ${kindOf(value)}: expected ${expected(form)}`);
    if (kind === "string") return this.text(value, schema, pointer);
    if (kind === "integer" || kind === "number") return this.number(value, schema, pointer);
    if (kind === "array" || kind === "object") return this.inner(value, schema, pointer, depth);
    return undefined;
  }

  union(value, {parts}, pointer, depth) {
    const drafts = this.faults.length;
    this.inner(value, null, pointer, depth);
    if (this.faults.length > drafts) return;
    const tried = parts.map((part) => faultsWithin(this.budget, value, part, this.root));
    if (this.budget.values < 0) return;
    if (tried.some((faults) => !faults.length)) return;
    const nearest = tried.reduce((one, other) => (deepest(other) > deepest(one) ? other : one));
    for (const {pointer: below, detail} of nearest.slice(0, 5)) this.add(pointer + below, detail);
  }

  /** Check what is within an array or an object. A schema of null: only what can't be a value yet. */
  inner(value, schema, pointer, depth) {
    if (Array.isArray(value)) {
      if (schema) this.length(value.length, schema.minItems, schema.maxItems, "items", pointer);
      value.forEach((each, n) => this.below(each, schema && (schema.prefixItems?.[n] ?? schema.items ?? {}), pointer + step(n), depth));
    } else if (value !== null && typeof value === "object" && !(value instanceof ExactNumber) && !(value instanceof Draft)) {
      this.members(value, schema, pointer, depth);
    }
  }

  below(value, schema, pointer, depth) {
    if (schema) this.value(value, schema, pointer, depth + 1);
    else if (value instanceof Draft) this.add(pointer, value.fault);
    else this.inner(value, null, pointer, depth + 1);
  }

  members(value, schema, pointer, depth) {
    const known = schema ? membersOf(schema) : [];
    const more = schema ? moreMembersOf(schema) : null;
    for (const {name, required} of known) {
      if (required && !(Object.hasOwn(value, name) && value[name] !== undefined)) this.add(pointer + step(name), "is required");
    }
    const schemas = objectOf(known.map((each) => [each.name, each.schema]));
    for (const [name, each] of Object.entries(value)) {
      if (each === undefined) continue;
      if (!schema) this.below(each, null, pointer + step(name), depth);
      else if (Object.hasOwn(schemas, name)) this.below(each, schemas[name], pointer + step(name), depth);
      else if (more) this.below(each, more, pointer + step(name), depth);
      else this.add(pointer + step(name), `is unknown here; known are: ${known.map((one) => one.name).slice(0, 20).join(", ") || "none"}`);
    }
    if (schema) this.length(Object.keys(value).length, schema.minProperties, schema.maxProperties, "members", pointer);
  }

  length(length, least, most, of, pointer) {
    if (typeof least === "number" && length < least) this.add(pointer, `has ${length} ${of}, at least ${least} are needed`);
    if (typeof most === "number" && length > most) this.add(pointer, `has ${length} ${of}, at most ${most} are allowed`);
  }

  text(value, schema, pointer) {
    const length = [...value].length;
    this.length(length, schema.minLength, schema.maxLength, "characters", pointer);
    if (typeof schema.pattern === "string" && !matches(value, schema.pattern)) {
      this.add(pointer, `does not match the pattern ${schema.pattern.slice(0, 200)}`);
    }
    const wrong = FORMATS[schema.format]?.(value);
    if (wrong) this.add(pointer, wrong);
  }

  number(value, schema, pointer) {
    const text = String(value);
    if (schema.minimum !== undefined && compareNumbers(value, schema.minimum) < 0) this.add(pointer, `is ${text}: at least ${schema.minimum}`);
    if (schema.maximum !== undefined && compareNumbers(value, schema.maximum) > 0) this.add(pointer, `is ${text}: at most ${schema.maximum}`);
    const {exclusiveMinimum: over, exclusiveMaximum: under, multipleOf: unit} = schema;
    if (isNumber(over) && compareNumbers(value, over) <= 0) this.add(pointer, `is ${text}: more than ${over}`);
    if (isNumber(under) && compareNumbers(value, under) >= 0) this.add(pointer, `is ${text}: less than ${under}`);
    if (Number.isInteger(unit) && unit > 0 && Number(value) % unit !== 0 && Number.isSafeInteger(Number(value))) {
      this.add(pointer, `is ${text}: a multiple of ${unit}`);
    }
  }
}

const INSTANT = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)?$/;
const DATE = /^\d{4}-\d\d-\d\d$/;
const UUID = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

const isTime = (text) => !Number.isNaN(Date.parse(text));

/** What is wrong with a text of a format; null: nothing. */
const FORMATS = {
  "date-time": (text) => (INSTANT.test(text) && isTime(text.replace(" ", "T")) ? null : "is no instant, such as 2026-01-31T12:00:00Z"),
  date: (text) => (DATE.test(text) && isTime(text) ? null : "is no date, such as 2026-01-31"),
  uuid: (text) => (UUID.test(text) ? null : "is no UUID"),
};

function deepest(faults) {
  return Math.max(...faults.map(({pointer}) => pointer.split("/").length));
}

function matches(text, pattern) {
  if (text.length > PATTERN_TEXT_MAX || !isCheap(pattern)) return true;
  try {
    return new RegExp(pattern, "u").test(text);
  } catch {
    return true;
  }
}

/** Whether a pattern takes little time on every text of bounded length. */
export function isCheap(pattern) {
  if (pattern.length > 300 || /\)[*+?{]|\\[1-9k]|\(\?/.test(pattern)) return false;
  const plain = pattern.replace(/\\./g, "x").replace(/\[[^\]]*\]/g, "x");
  return (plain.match(/[*+]|\{\d+,\}/g) ?? []).length <= 2 && !/\{\d*,?\d{4,}/.test(plain);
}

function same(one, other) {
  if (isNumber(one) && isNumber(other)) return compareNumbers(one, other) === 0;
  return one === other;
}

function isOfKind(value, kind) {
  if (kind === "integer") return isNumber(value) && isInteger(value);
  if (kind === "number") return isNumber(value);
  return kindOf(value) === KIND_WORDS[kind];
}

const KIND_WORDS = {string: "a text", boolean: "a truth value", array: "an array", object: "an object", null: "null"};

function kindOf(value) {
  if (isNumber(value)) return "a number";
  if (Array.isArray(value)) return "an array";
  return {string: "a text", boolean: "a truth value"}[typeof value] ?? (value === null ? "null" : "an object");
}

function expected({kind, choices}) {
  if (kind === "enum") return `one of ${choices.slice(0, 12).map((each) => JSON.stringify(each)).join(", ")}`;
  return {integer: "a whole number", number: "a number", union: "one of the forms", any: "a value"}[kind] ?? KIND_WORDS[kind];
}
