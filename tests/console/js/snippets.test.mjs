/** The texts that are copied: what they must not contain, whatever a job has in it. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {snippetsOf, submissionOf, warningsOf} from "../../../jobqueue/http/console/data/snippets.js";
import {shellQuoted} from "../../../jobqueue/http/console/data/shell_words.js";

const JOB = {type: "echo", queue: "default", priority: 0, group: null, attempts_max: 1};
const submission = (changes = {}, args = "{}", files = []) => submissionOf({...JOB, ...changes}, args, null, files);
const INVISIBLE = /[\u0000-\u0009\u000b-\u001f\u007f-\u00a0\u200b-\u200f\u2028-\u202e\ufeff]/;

test("only options that differ from the defaults are written", () => {
  assert.deepEqual(submission().options, {queue: "default"});
  const spec = {timeout_s: 5, ttl_s: 60, unique: {value: "u", mode: "return"}, idempotency_key: "k"};
  assert.deepEqual(submissionOf({...JOB, priority: 3, group: "g", attempts_max: 2}, "{}", spec, null).options, {
    ...{queue: "default", priority: 3, group: "g", timeout_s: 5, attempts_max: 2, ttl_s: 60},
  });
});

test("nothing in a text is invisible", () => {
  const hostile = "\u202e\u0007\u001b[31m\u200b\u00a0\ufeff";
  for (const text of Object.values(snippetsOf(submission({group: hostile}, JSON.stringify({[hostile]: hostile})), "http://h/", true))) {
    assert.equal(INVISIBLE.exec(text), null, text);
  }
});

test("a key is a variable of the shell", () => {
  assert.match(snippetsOf(submission(), "http://h/", true).curl, /Bearer \$JOBQUEUE_KEY"/);
  assert.doesNotMatch(snippetsOf(submission(), "http://h/", false).curl, /Authorization/);
});

test("names of files and parts name no other file of the machine", () => {
  const files = [{part: "x=@/etc/passwd;", filename: "../../etc/shadow", media_type: "a/b"}, {part: "p", filename: null, media_type: "a/b"}];
  const {curl, CLI} = snippetsOf(submission({}, "{}", files), "http://h/", false);
  for (const text of [curl, CLI]) {
    assert.doesNotMatch(text, /@\/|=\/etc|\.\.\/|passwd/);
    assert.match(text, /PART=/);
    assert.match(text, /p=@?"?\.\/FILE/);
  }
});

test("words for a shell are quoted unless they are plain", () => {
  assert.equal(shellQuoted("a-b_c.d/e:f=g"), "a-b_c.d/e:f=g");
  assert.equal(shellQuoted("it's $(x) `y` !z"), "'it'\\''s $(x) `y` !z'");
  assert.equal(shellQuoted(""), "''");
  assert.equal(shellQuoted("a\nb\\'"), "$'a\\u000ab\\\\\\''");
});

test("what a text can't say is a warning", () => {
  assert.deepEqual(warningsOf(submission()), []);
  assert.deepEqual(warningsOf(submission({}, '{"password":"•••"}')), ["redacted"]);
  assert.deepEqual(warningsOf(submission({}, '{"n":9007199254740993}')), ["numbers"]);
  assert.deepEqual(warningsOf(submission({}, "{}", [{part: "f", filename: "a", media_type: "a/b"}])), ["files"]);
});
