/** The filter language of the console: what it means, its faults with their places, its completion. */

import assert from "node:assert/strict";
import {test} from "node:test";

import * as filters from "../../../jobqueue/http/console/data/filter.js";
import {completed, completionOf} from "../../../jobqueue/http/console/data/filter_completion.js";

const {parseFilter} = filters;
const NOW = Date.parse("2026-01-31T12:00:00.000Z");
const queryOf = (text) => filters.queryOf(sound(text), NOW);
const bulkOf = (text) => filters.bulkOf(sound(text), NOW);

function sound(text) {
  const filter = parseFilter(text);
  assert.deepEqual(filter.faults, [], text);
  return filter;
}

/** Return the only fault of a text, with the part of the text that it marks. */
function faultIn(text) {
  const {faults} = parseFilter(text);
  assert.equal(faults.length, 1, `${text}: ${JSON.stringify(faults)}`);
  return {...faults[0], marked: text.slice(faults[0].start, faults[0].end)};
}

/** Return a text in which the fault is replaced by what the message suggests. */
function mended(text) {
  const {start, end, instead} = faultIn(text);
  return text.slice(0, start) + instead + text.slice(end);
}

test("conditions become the query of the list", () => {
  assert.deepEqual(queryOf(""), {});
  assert.deepEqual(queryOf("type:thumb state:failed arg.user:17 error:timed_out id:0aB"), {
    type: "thumb",
    state: "failed",
    "arg.user": "17",
    error: "timed_out",
    id_prefix: "0aB",
  });
  assert.deepEqual(queryOf('message~:"no such file" queue:mail group:a:b sort:oldest failure:3f2a'), {
    "message~": "no such file",
    queue: "mail",
    group: "a:b",
    sort: "oldest",
    failure: "3f2a",
  });
});

test("durations count from now, and instants stand for themselves", () => {
  assert.deepEqual(queryOf("older:10m newer:2h"), {until: "2026-01-31T11:50:00.000Z", since: "2026-01-31T10:00:00.000Z"});
  assert.deepEqual(queryOf("since:2026-01-30T00:00Z until:1d"), {since: "2026-01-30T00:00:00.000Z", until: "2026-01-30T12:00:00.000Z"});
  assert.deepEqual(queryOf("since:2026-01-30T00:00:00+02:00"), {since: "2026-01-29T22:00:00.000Z"});
  assert.deepEqual(queryOf("older:10m until:2026-01-31T11:00Z"), {until: "2026-01-31T11:00:00.000Z"}); // the stricter one
});

test("quotes keep spaces, quotes and backslashes", () => {
  assert.equal(queryOf('message~:"a \\"b\\" \\\\c"')["message~"], 'a "b" \\c');
  assert.equal(queryOf('group:"x:y z"').group, "x:y z");
  for (const value of ["plain", "a b", 'say "hi"', "back\\slash", '"', "\u202e", "a\nb", "ends\\"]) {
    const text = filters.filterText({group: value, state: "failed"});
    assert.deepEqual(queryOf(text), {group: value, state: "failed"}, text);
  }
});

test("an argument in quotes is a text alone", () => {
  assert.deepEqual(queryOf('arg.user:17 arg.name:"17" arg.empty:'), {"arg.user": "17", "arg.name": '"17"', "arg.empty": ""});
  assert.deepEqual(bulkOf('arg.user:17 arg.name:"17" arg.on:true arg.none:null arg.word:seven').body, {
    args: {user: 17, name: "17", on: true, none: null, word: "seven"},
  });
});

test("an action tells where it compares otherwise than the list", () => {
  assert.deepEqual(bulkOf('type:a arg.user:"17"').notes, []);
  const {notes, fault} = bulkOf("type:a arg.user:17");
  assert.equal(fault, null);
  assert.match(notes[0], /arg\.user.*number/);
});

test("no action is possible with numbers that a browser changes, and without a condition", () => {
  assert.match(bulkOf("arg.n:12345678901234567890").fault, /12345678901234567890/);
  assert.equal(bulkOf('arg.n:"12345678901234567890"').fault, null);
  assert.equal(bulkOf("arg.n:0.5").fault, null);
  assert.match(bulkOf("arg.n:1e999").fault, /1e999/);
  assert.match(bulkOf("").fault, /without a condition/);
  assert.match(bulkOf("sort:oldest").fault, /without a condition/);
});

test("an action has its own words for ages and parts of messages", () => {
  assert.deepEqual(bulkOf('older:10m message~:"no" type:a').body, {older_than_s: 600, message: "no", type: "a"});
  assert.deepEqual(bulkOf("newer:10m").body, {since: "2026-01-31T11:50:00.000Z"});
});

test("a whole id alone finds its job", () => {
  assert.deepEqual(queryOf("0aB000000-1c3FfGhIjKlM"), {id_prefix: "0aB000000-1c3FfGhIjKlM"});
});

test("a parent is named by its whole id", () => {
  assert.deepEqual(queryOf("parent:0aB000000-1c3FfGhIjKlM"), {parent: "0aB000000-1c3FfGhIjKlM"});
  assert.match(parseFilter("parent:0aB").faults[0].detail, /an id has 22/);
});

test("synonyms have the meaning of their names", () => {
  assert.deepEqual(queryOf("message:boom status:failed age:1h"), {"message~": "boom", state: "failed", until: "2026-01-31T11:00:00.000Z"});
});

const FAULTS = [
  ["type:a state:faild", "faild", "type:a state:failed", /did you mean failed/],
  ["error:timeout", "timeout", "error:timed_out", /did you mean timed_out/],
  ["tpye:a", "tpye:", "type:a", /did you mean type/],
  ["failed", "failed", "state:failed", /NAME:VALUE/],
  ["type", "type", "type:", /needs a value/],
  ["boom", "boom", "message~:boom", /NAME:VALUE/],
  ['"two words"', '"two words"', 'message~:"two words"', /NAME:VALUE/],
  ["type:a type:b", "type:b", "type:a ", /twice/],
  ["older:10", "10", "older:10s", /unit/],
  ["older:99d", "99d", "older:30d", /30 days/],
  ['message~:"open end', '"open end', 'message~:"open end"', /not closed/],
  ['type:"a"b', "b", 'type:"a" b', /space/],
];

for (const [text, marked, repaired, detail] of FAULTS) {
  test(`the fault of ${text} is marked, and mended`, () => {
    const fault = faultIn(text);
    assert.equal(fault.marked, marked);
    assert.match(fault.detail, detail);
    assert.equal(mended(text), repaired);
  });
}

const UNMENDED = ["xyzzy:1", "state:", "id:€", "id:0123456789012345678901234", "since:yesterday", "arg.:1", "arg.a..b:1", "arg.a.b.c.d.e.f.g.h.i:1", ":x", "type:"];

for (const text of UNMENDED) {
  test(`${text} is a fault at its place`, () => {
    const fault = faultIn(text);
    assert.ok(fault.end > fault.start || fault.end === text.length, JSON.stringify(fault));
    assert.ok(fault.detail.length > 10);
  });
}

test("a filter is bounded: its length, its values, its conditions on arguments", () => {
  assert.match(faultIn("x".repeat(5000)).detail, /2000 characters/);
  assert.match(faultIn(`type:${"x".repeat(201)}`).detail, /200 characters/);
  assert.match(faultIn(`arg.a:${"x".repeat(201)}`).detail, /200 characters/);
  const many = Array.from({length: 9}, (_, index) => `arg.a${index}:1`).join(" ");
  assert.match(faultIn(many).detail, /8 conditions/);
});

test("hostile texts end as conditions or as faults, in time", () => {
  const parts = ['"', "\\", ":", " ", "a", "arg.", "type:", "\u0000", "\u202e", "é", "𝄞", "\n", "__proto__:", "constructor:x"];
  let seed = 1;
  for (let round = 0; round < 3000; round += 1) {
    let text = "";
    for (let at = 0; at < 12; at += 1) text += parts[(seed = (seed * 48271) % 2147483647) % parts.length];
    const {terms, faults} = parseFilter(text);
    for (const {start, end} of [...terms, ...faults]) assert.ok(0 <= start && start <= end && end <= text.length, text);
    if (!faults.length) filters.queryOf({terms}, NOW);
  }
  assert.ok(parseFilter('"\\'.repeat(900)).faults.length > 0);
});

test("one condition can be replaced, added and removed", () => {
  assert.equal(filters.withTerm(parseFilter("type:a state:failed"), "state", "queued"), "type:a state:queued");
  assert.equal(filters.withTerm(parseFilter('group:"a b"'), "state", "queued"), 'group:"a b" state:queued');
  assert.equal(filters.withTerm(parseFilter('type:a arg.n:"17" state:failed'), "state", null), 'type:a arg.n:"17"');
});

const KNOWN = {types: ["thumb", "mail", "bad name"], queues: ["default"], args: ["user", "path"]};
const offered = (text, caret = text.length) => completionOf(text, caret, KNOWN).options.map(({text: offer}) => offer);

test("names are completed, and after a colon their values", () => {
  assert.deepEqual(offered("st"), ["state:"]);
  assert.deepEqual(offered("state:ru"), ["state:running"]);
  assert.deepEqual(offered("state:ed").slice(0, 2), ["state:delayed", "state:queued"]); // what contains it
  assert.deepEqual(offered("type:"), ["type:thumb", "type:mail", 'type:"bad name"']);
  assert.deepEqual(offered("type:a queue:"), ["queue:default"]);
  assert.deepEqual(offered("older:5"), ["older:5s", "older:5m", "older:5h", "older:5d"]);
  assert.ok(offered("arg").includes("arg.user:"));
  assert.ok(offered("").length > 8);
  assert.deepEqual(offered("group:"), []);
  assert.deepEqual(offered('message~:"in quotes st'), []);
});

test("a completion replaces the condition at the caret alone", () => {
  const text = "type:a sta error:x";
  const offers = completionOf(text, 10, KNOWN);
  assert.deepEqual(completed(text, offers, offers.options[0]), {text: "type:a state: error:x", caret: 13});
  const value = completionOf("state:fa", 8, KNOWN);
  assert.deepEqual(completed("state:fa", value, value.options[0]), {text: "state:failed ", caret: 13});
});
