/** Exact JSON: no number changes on its way through a form. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {DEPTH_MAX, ExactNumber, compareNumbers, isInteger, numberOf, parse, write} from "../../../jobqueue/http/console/data/exact_json.js";

test("what is read is written as it was, whatever its numbers", () => {
  for (const text of [
    "9007199254740993",
    "18446744073709551615",
    "-9223372036854775808",
    "[1.0,1e400,-0,0.1,1E5]",
    '{"a":"9007199254740993","b":"\\"1.0\\"","c":[9007199254740993]}',
    '{"__proto__":{"x":1},"number:1":"number:2"}',
  ]) {
    assert.equal(write(parse(text)), text.replaceAll("\\u0000", "\\u0000"));
  }
});

test("a number that JavaScript keeps is one of its own", () => {
  assert.equal(numberOf("12.5"), 12.5);
  assert.ok(numberOf("12.50") instanceof ExactNumber);
  for (const text of ["", "1.", ".5", "01", "0x1", "1_000", "NaN", "Infinity", "--1", "1e"]) assert.equal(numberOf(text), null, text);
});

test("whole numbers are compared beyond 2^53", () => {
  assert.ok(compareNumbers(numberOf("9007199254740993"), numberOf("9007199254740992")) > 0);
  assert.equal(compareNumbers(numberOf("1.0"), 1), 0);
  assert.ok(isInteger(numberOf("1.0")));
  assert.ok(!isInteger(numberOf("1.5")));
  assert.ok(isInteger(numberOf("99999999999999999999")));
});

test("a fault says line and column", () => {
  assert.throws(() => parse('{"a": 1,\n "b": }'), /line 2, column 7/);
  assert.throws(() => parse("  "), /is empty/);
  assert.throws(() => parse("{'a': 1}"), /is no JSON/);
});

test("deeper JSON than the server takes is refused, and no depth overflows", () => {
  const nested = (depth) => "[".repeat(depth) + "]".repeat(depth);
  assert.equal(write(parse(nested(DEPTH_MAX))), nested(DEPTH_MAX));
  assert.throws(() => parse(nested(DEPTH_MAX + 1)), /more than 32 levels/);
  assert.throws(() => parse(nested(100_000)), Error);
});

test("members that are undefined are left out", () => {
  assert.equal(write({a: undefined, b: null}), '{"b":null}');
  assert.equal(write(undefined), "null");
});
