/**
 * JSON Schema of arguments: which form a value has, as far as a form needs to know.
 *
 * Rules:
 *
 * 1. A schema is read, never trusted: a reference is followed a bounded number of times, and what is not understood is
 *    the kind `any`, which is entered as JSON.
 * 2. A union with null is its other part, which may be null. A union of several parts has one form at a time.
 * 3. `allOf` of one part is that part (as pydantic writes a reference with a title); of several it is `any`.
 */

const HOPS_MAX = 16;
const PARTS_MAX = 30;
const CHOICES_MAX = 200;

/** What is not entered in a form of its own below this depth is entered as JSON. */
export const FORM_DEPTH_MAX = 6;

const KINDS = new Set(["string", "integer", "number", "boolean", "array", "object", "null"]);

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/**
 * Follow the references of a schema. What leads nowhere is the schema of any value.
 *
 * @param {any} schema
 * @param {object} root The schema that has the definitions.
 * @returns {object}
 */
export function resolved(schema, root) {
  let at = schema;
  let around = {};
  for (let hops = 0; hops < HOPS_MAX; hops += 1) {
    if (!isObject(at)) return {...around};
    if (typeof at.$ref === "string") {
      const {$ref, ...beside} = at;
      around = {...beside, ...around};
      at = definition($ref, root);
    } else if (Array.isArray(at.allOf) && at.allOf.length === 1) {
      const {allOf, ...beside} = at;
      around = {...beside, ...around};
      [at] = allOf;
    } else {
      return {...at, ...around};
    }
  }
  return {};
}

function definition(reference, root) {
  if (reference === "#") return root;
  if (!reference.startsWith("#/")) return {};
  let at = root;
  for (const step of reference.slice(2).split("/")) {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (!isObject(at) || !Object.hasOwn(at, name)) return {};
    at = at[name];
  }
  return at;
}

/**
 * Return the form of a schema's values.
 *
 * `kind` is one of string, integer, number, boolean, enum, array, object, union, null and any. With it come the
 * resolved `schema`, whether null is allowed (`nullable`), the `choices` of an enum, the `parts` of a union.
 *
 * @param {any} given
 * @param {object} root
 */
export function formOf(given, root) {
  const schema = resolved(given, root);
  const union = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(union) && union.length) return unionForm(schema, union, root);
  if (Array.isArray(schema.enum)) return enumForm(schema, schema.enum);
  if (Object.hasOwn(schema, "const")) return enumForm(schema, [schema.const]);
  if (Array.isArray(schema.type)) return unionForm(schema, schema.type.map((type) => ({...schema, type})), root);
  if (Array.isArray(schema.allOf)) return {kind: "any", schema, nullable: false};
  const kind = KINDS.has(schema.type) ? schema.type : isObject(schema.properties) ? "object" : "any";
  return {kind, schema, nullable: kind === "null"};
}

function unionForm(schema, union, root) {
  const parts = union.slice(0, PARTS_MAX);
  const others = parts.filter((part) => resolved(part, root).type !== "null");
  const nullable = others.length < parts.length;
  if (others.length === 1) {
    const {anyOf, oneOf, type, ...beside} = schema;
    const form = formOf(isObject(others[0]) ? {...others[0], ...own(others[0], beside)} : others[0], root);
    return {...form, nullable: nullable || form.nullable};
  }
  return others.length ? {kind: "union", schema, nullable, parts: others} : {kind: "null", schema, nullable: true};
}

/** What stands beside a union, as far as its one part doesn't say it: title, description, default. */
function own(part, beside) {
  return Object.fromEntries(Object.entries(beside).filter(([name]) => !Object.hasOwn(part, name)));
}

function enumForm(schema, choices) {
  if (choices.length > CHOICES_MAX) return {kind: "any", schema, nullable: choices.includes(null)};
  const others = choices.filter((each) => each !== null);
  return {kind: "enum", schema, nullable: others.length < choices.length, choices: others};
}

/**
 * Return the members that an object's form has: each with its name, its schema and whether it is required.
 *
 * @param {object} schema Resolved.
 */
export function membersOf(schema) {
  const required = new Set(Array.isArray(schema.required) ? schema.required : []);
  const properties = isObject(schema.properties) ? schema.properties : {};
  return Object.keys(properties)
    .filter((name) => !isForbidden(properties[name]))
    .map((name) => ({name, schema: properties[name], required: required.has(name)}));
}

/** Whether no value matches: `{"not": {}}` is how the server forbids a name. */
function isForbidden(schema) {
  return schema === false || (isObject(schema) && isObject(schema.not) && Object.keys(schema.not).length === 0);
}

/** The schema of members that an object has no property for; null: there may be none. */
export function moreMembersOf(schema) {
  if (schema.additionalProperties === false) return null;
  return isObject(schema.additionalProperties) ? schema.additionalProperties : {};
}

/**
 * Return the value with which a form begins: the default, else the least that the schema asks for; undefined: none.
 *
 * @param {any} given
 * @param {object} root
 */
export function blankOf(given, root, depth = 0) {
  const {schema, nullable} = formOf(given, root);
  if (Object.hasOwn(schema, "default")) return structuredClone(schema.default);
  return nullable ? null : freshOf(given, root, depth);
}

/** Return the least that a schema asks for, without its default and other than null; undefined: nothing can be said. */
export function freshOf(given, root, depth = 0) {
  const {kind, schema, choices, parts} = formOf(given, root);
  if (kind === "union") return depth > FORM_DEPTH_MAX ? undefined : blankOf(parts[0], root, depth + 1);
  if (kind === "enum") return choices.length === 1 ? choices[0] : undefined;
  if (kind === "boolean") return false;
  if (depth >= FORM_DEPTH_MAX) return undefined;
  if (kind === "array") return blankArray(schema, root, depth);
  return kind === "object" ? blankObject(schema, root, depth) : undefined;
}

function blankArray(schema, root, depth) {
  const tuple = Array.isArray(schema.prefixItems) ? schema.prefixItems : [];
  const least = Math.min(Number(schema.minItems) || 0, PARTS_MAX);
  const items = tuple.map((each) => blankOf(each, root, depth + 1));
  while (items.length < least) items.push(blankOf(schema.items, root, depth + 1));
  return items;
}

/** An object with its required members; the others are added in the form. */
export function blankObject(schema, root, depth = 0) {
  const members = membersOf(schema).filter((each) => each.required);
  return objectOf(members.map(({name, schema: of}) => [name, blankOf(of, root, depth + 1)]));
}

/** Make an object of entries; a name such as `__proto__` is a member like any other. */
export function objectOf(entries) {
  const made = {};
  for (const [name, value] of entries) setMember(made, name, value);
  return made;
}

function setMember(object, name, value) {
  Object.defineProperty(object, name, {value, enumerable: true, configurable: true, writable: true});
}

/** A copy of an object with one member changed; undefined removes it. */
export function withMember(object, name, value) {
  const entries = Object.entries(object).filter(([each]) => each !== name || value !== undefined);
  if (value === undefined) return objectOf(entries);
  const known = entries.some(([each]) => each === name);
  return objectOf(known ? entries.map(([each, old]) => [each, each === name ? value : old]) : [...entries, [name, value]]);
}

/** Words for a schema, such as `integer, 1 to 100` or `array of string`. */
export function summaryOf(given, root, depth = 0) {
  const form = formOf(given, root);
  const words = kindWords(form, root, depth);
  return form.nullable && form.kind !== "null" ? `${words} or null` : words;
}

function kindWords({kind, schema, choices, parts}, root, depth) {
  if (kind === "enum") return choices.slice(0, 12).map((each) => JSON.stringify(each)).join(", ") + (choices.length > 12 ? ", …" : "");
  if (kind === "union") return parts.slice(0, 6).map((part) => titleOf(part, root) ?? (depth > 2 ? "…" : summaryOf(part, root, depth + 1))).join(" or ");
  if (kind === "array") return arrayWords(schema, root, depth);
  if (kind === "object") return typeof schema.title === "string" ? `object ${schema.title}` : "object";
  if (kind === "any") return "any JSON";
  return [schema.format ?? kind, boundsWords(schema)].filter(Boolean).join(", ");
}

function arrayWords(schema, root, depth) {
  if (depth > 2 || !isObject(schema.items)) return "array";
  return `array of ${titleOf(schema.items, root) ?? summaryOf(schema.items, root, depth + 1)}`;
}

/** The title of a schema, for a choice among several; null: it has none. */
export function titleOf(given, root) {
  const {title} = resolved(given, root);
  return typeof title === "string" && title ? title : null;
}

/** The bounds of a number or a text in words; empty: it has none. */
export function boundsWords(schema) {
  const words = [];
  const [low, high] = [schema.minimum ?? schema.minLength, schema.maximum ?? schema.maxLength];
  const unit = schema.minLength !== undefined || schema.maxLength !== undefined ? " characters" : "";
  if (low !== undefined && high !== undefined) words.push(`${low} to ${high}${unit}`);
  else if (low !== undefined) words.push(`at least ${low}${unit}`);
  else if (high !== undefined) words.push(`at most ${high}${unit}`);
  if (schema.exclusiveMinimum !== undefined) words.push(`more than ${schema.exclusiveMinimum}`);
  if (schema.exclusiveMaximum !== undefined) words.push(`less than ${schema.exclusiveMaximum}`);
  if (schema.multipleOf !== undefined) words.push(`a multiple of ${schema.multipleOf}`);
  if (typeof schema.pattern === "string") words.push(`pattern ${schema.pattern.slice(0, 80)}`);
  return words.join(", ");
}
