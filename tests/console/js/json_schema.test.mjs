/** JSON Schema in forms: which form a value has, what is wrong with one, and what a hostile schema can't do. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {numberOf, parse} from "../../../jobqueue/http/console/data/exact_json.js";
import {blankOf, formOf, freshOf, membersOf, moreMembersOf, objectOf, resolved, summaryOf, withMember} from "../../../jobqueue/http/console/data/json_schema.js";
import {Draft, FAULTS_MAX, faultsOf, isCheap} from "../../../jobqueue/http/console/data/schema_check.js";

const faults = (value, schema, root = schema) => faultsOf(value, schema, root).map(({pointer, detail}) => `${pointer} ${detail}`);
const one = (schema) => ({type: "object", properties: {x: schema}});

test("references are followed, beside members of their own", () => {
  const root = {$defs: {Size: {type: "object", title: "Size"}}, ...one({$ref: "#/$defs/Size", description: "in pixels"})};
  assert.deepEqual(resolved(root.properties.x, root), {type: "object", title: "Size", description: "in pixels"});
  assert.deepEqual(resolved({allOf: [{$ref: "#/$defs/Size"}]}, root), {type: "object", title: "Size"});
});

test("a reference to itself, to nothing, or to another document is any value", () => {
  const root = {$defs: {Loop: {$ref: "#/$defs/Loop"}}};
  for (const reference of ["#/$defs/Loop", "#/$defs/Nothing", "https://example.org/x", "#/__proto__/constructor", "nonsense"]) {
    assert.equal(formOf({$ref: reference}, root).kind, "any", reference);
    assert.deepEqual(faultsOf({a: [1]}, {$ref: reference}, root), []);
  }
});

test("a recursive schema has a beginning, and is checked to the depth of the value", () => {
  const root = {$ref: "#/$defs/Tree", $defs: {Tree: {type: "object", properties: {left: {$ref: "#/$defs/Tree"}, name: {type: "string"}}, required: ["left", "name"]}}};
  assert.ok(blankOf(root, root).left);
  assert.deepEqual(faults({name: "a", left: {name: 1, left: {}}}, root), ["/left/name is a number: expected a text", "/left/left/left is required", "/left/left/name is required"]);
});

test("a union with null is its other part, and may be null", () => {
  const form = formOf({anyOf: [{type: "integer"}, {type: "null"}], default: null, description: "how many"}, {});
  assert.deepEqual([form.kind, form.nullable, form.schema.description, form.schema.default], ["integer", true, "how many", null]);
  assert.deepEqual(faultsOf(null, {anyOf: [{type: "integer"}, {type: "null"}]}), []);
  assert.deepEqual(faults(null, {type: "integer"}), [" is null: expected a whole number"]);
  assert.equal(formOf({type: ["string", "null"]}, {}).nullable, true);
});

test("a value of a union is told by the nearest part", () => {
  const union = {anyOf: [{type: "string"}, {type: "object", properties: {level: {type: "integer", maximum: 9}}, required: ["level"]}]};
  assert.deepEqual(faults({level: 10}, union), ["/level is 10: at most 9"]);
  assert.deepEqual(faultsOf("x", union), []);
});

test("bounds hold for numbers that JavaScript can't keep", () => {
  const schema = {type: "integer", minimum: 0, maximum: 100};
  assert.deepEqual(faults(numberOf("9007199254740993"), schema), [" is 9007199254740993: at most 100"]);
  assert.deepEqual(faultsOf(numberOf("1.0"), schema), []);
  assert.deepEqual(faults(1.5, schema), [" is a number: expected a whole number"]);
  assert.deepEqual(faults(5, {type: "number", exclusiveMinimum: 5}), [" is 5: more than 5"]);
  assert.deepEqual(faults(7, {type: "integer", multipleOf: 5}), [" is 7: a multiple of 5"]);
});

test("texts, arrays and objects are held to their bounds", () => {
  assert.deepEqual(faults("😀😀", {type: "string", maxLength: 1}), [" has 2 characters, at most 1 are allowed"]);
  assert.deepEqual(faults([1, "a"], {type: "array", items: {type: "integer"}, minItems: 3}), [" has 2 items, at least 3 are needed", "/1 is a text: expected a whole number"]);
  assert.deepEqual(faults({b: 1}, {type: "object", properties: {a: {}}, additionalProperties: false}), ["/b is unknown here; known are: a"]);
  assert.deepEqual(faults({"a/b~c": 1}, {type: "object", additionalProperties: {type: "string"}}), ["/a~1b~0c is a number: expected a text"]);
  assert.deepEqual(faults("x", {enum: ["a", null]}), [' is none of: "a"']);
  assert.deepEqual(faults("tomorrow", {type: "string", format: "date-time"}), [" is no instant, such as 2026-01-31T12:00:00Z"]);
});

test("a required member that is missing, and one that is no value yet, are faults", () => {
  const schema = {...one({type: "integer"}), required: ["x"]};
  assert.deepEqual(faults({}, schema), ["/x is required"]);
  assert.deepEqual(faults({x: new Draft("12a", "is no number")}, schema), ["/x is no number"]);
  assert.deepEqual(faults({x: [new Draft("", "hidden")]}, one({})), ["/x/0 hidden"]);
});

test("what is not understood is left to the server", () => {
  for (const schema of [{}, true, null, 5, {type: "magic"}, {allOf: [{type: "string"}, {maxLength: 1}]}, {if: {}, then: false}]) {
    assert.deepEqual(faultsOf("abc", schema), [], JSON.stringify(schema));
  }
});

test("no pattern takes long", () => {
  for (const pattern of ["(a+)+$", "(a|a)*b", "a*a*a*b", "(?=a)", "\\1", "a{1,5000}b*", "x".repeat(400)]) assert.ok(!isCheap(pattern), pattern);
  for (const pattern of ["^[a-z]+$", "^\\d{4}-\\d{2}$", "^(png|webp)$"]) assert.ok(isCheap(pattern), pattern);
  assert.deepEqual(faultsOf("a".repeat(50), {type: "string", pattern: "(a+)+$b"}), []);
  assert.deepEqual(faults("A", {type: "string", pattern: "^[a-z]+$"}), [" does not match the pattern ^[a-z]+$"]);
  assert.deepEqual(faultsOf("A", {type: "string", pattern: "(?P<x>a)["}), []);
});

test("the work of a check is bounded", () => {
  assert.equal(faultsOf(Array(10_000).fill("x"), {type: "array", items: {type: "integer"}}).length, FAULTS_MAX);
  const deep = parse("[".repeat(30) + "]".repeat(30));
  const root = {$ref: "#/$defs/L", $defs: {L: {type: "array", items: {anyOf: Array(9).fill({$ref: "#/$defs/L"})}}}};
  assert.deepEqual(faultsOf(deep, root), []); // else it would take 9^30 steps
});

test("a forbidden name is no member, and __proto__ is one like any other", () => {
  const schema = {type: "object", properties: objectOf([["ctx", {not: {}}], ["__proto__", {type: "integer"}], ["a", {type: "integer"}]]), required: ["a"]};
  assert.deepEqual(membersOf(schema).map(({name}) => name), ["__proto__", "a"]);
  const value = withMember({}, "__proto__", 1);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.deepEqual(Object.entries(value), [["__proto__", 1]]);
  assert.deepEqual(Object.keys(withMember(value, "__proto__", undefined)), []);
  assert.deepEqual(moreMembersOf({type: "object"}), {});
  assert.equal(moreMembersOf({additionalProperties: false}), null);
});

test("a form begins with defaults and what is required", () => {
  const schema = {type: "object", properties: {n: {type: "integer", default: 3}, tag: {const: "Png"}, list: {type: "array", minItems: 2, items: {type: "boolean"}}, other: {type: "string"}}, required: ["n", "tag", "list"]};
  assert.deepEqual(blankOf(schema, schema), {n: 3, tag: "Png", list: [false, false]});
});

test("a value that may be null, or has a default, has a fresh one beside it", () => {
  const schema = {anyOf: [{type: "object", properties: {a: {type: "boolean"}}, required: ["a"]}, {type: "null"}], default: null};
  assert.equal(blankOf(schema, {}), null);
  assert.deepEqual(freshOf(schema, {}), {a: false});
  const loop = {anyOf: [{$ref: "#"}, {type: "array"}]};
  assert.equal(freshOf(loop, loop), undefined);
});

test("a schema is told in words", () => {
  assert.equal(summaryOf({type: "integer", minimum: 1, maximum: 9}, {}), "integer, 1 to 9");
  assert.equal(summaryOf({anyOf: [{type: "array", items: {type: "string"}}, {type: "null"}]}, {}), "array of string or null");
  assert.equal(summaryOf({enum: ["a", "b"]}, {}), '"a", "b"');
  assert.equal(summaryOf({$ref: "#/x"}, {}), "any JSON");
});
