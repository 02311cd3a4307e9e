/** JSON as text: nothing is lost, no depth and no size breaks it. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {compact, indented, memberOf, parseJson, quoted, stringOf} from "../../../jobqueue/http/console/data/json_text.js";

const again = (text) => compact(text, parseJson(text));

test("numbers keep their digits", () => {
  for (const number of ["12345678901234567890", "-9223372036854775808", "1.0", "1e400", "0.1e-7", "-0", "3.141592653589793238462643"]) {
    assert.equal(again(`{"n": ${number}}`), `{"n":${number}}`);
  }
});

test("members keep their order, and repeated names stay", () => {
  const text = '{"b":1,"a":2,"b":3,"__proto__":4}';
  assert.equal(again(text), text);
  assert.equal(text.slice(...place(memberOf(parseJson(text), "b"))), "3"); // the last one counts, as for the server
  assert.equal(memberOf(parseJson(text), "toString"), null);
});

const place = ({start, end}) => [start, end];

test("what it writes is what JSON.parse reads", () => {
  const value = {a: [1, [], {}, {b: null, c: true, "d e": "f\n\"\\\u0000é😀"}], "": [false, "\u202e"]};
  for (const text of [JSON.stringify(value), JSON.stringify(value, null, 3), `  ${JSON.stringify(value)}\n`]) {
    assert.deepEqual(JSON.parse(again(text)), value);
    assert.deepEqual(JSON.parse(indented(text, parseJson(text))), value);
  }
});

test("invisible characters are escaped", () => {
  assert.equal(quoted("\u202eabc\u0000\u200b\u{e0041}"), '"\\u202eabc\\u0000\\u200b\\udb40\\udc41"');
  assert.equal(again('{"\u202e":"\ufeff"}'), '{"\\u202e":"\\ufeff"}');
});

for (const text of ["", "{", "[1,]", '{"a":1,}', '{"a" 1}', "{a:1}", "[1 2]", "01", "1.", "+1", "nul", '"a', '"\\"', "[1]]", '{"a":1]', "[}", "\u00a01", "[,1]"]) {
  test(`${JSON.stringify(text)} is no JSON, and its place is named`, () => {
    assert.throws(() => parseJson(text), /at character \d+/);
  });
}

test("neither depth nor size overflows", () => {
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  assert.equal(again(deep), deep);
  const wide = `{${Array.from({length: 100_000}, (_, index) => `"k${index}":${index}`).join(",")}}`;
  assert.equal(parseJson(wide).items.length, 100_000);
  const long = `"${"\\n".repeat(1_000_000)}"`;
  assert.equal(stringOf(long, parseJson(long), 100).value.length, 50);
});

test("a long string is cut between its characters", () => {
  for (const [text, max] of [['"a\\u00e9b"', 4], ['"ab\\\\\\\\c"', 3], ['"ab\\"c"', 3], ['"\\\\\\u0041"', 5]]) {
    const {value, whole} = stringOf(text, parseJson(text), max);
    assert.equal(whole, false);
    assert.ok(JSON.parse(text).startsWith(value), `${text} ${value}`);
  }
  assert.deepEqual(stringOf('"ab"', parseJson('"ab"'), 2), {value: "ab", whole: true});
});
