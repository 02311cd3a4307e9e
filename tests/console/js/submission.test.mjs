/** A submission from a form: its request, the server's faults by form, a job's arguments for another one. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {numberOf, parse} from "../../../jobqueue/http/console/data/exact_json.js";
import {Draft, faultsOf} from "../../../jobqueue/http/console/data/schema_check.js";
import {argumentsAgain, argumentsSchema, faultsByForm, optionsSchema, requestOf} from "../../../jobqueue/http/console/data/submission.js";

const OPTIONS = optionsSchema(["default", "mail"], {});

test("a request has the arguments to the digit, the options beside them, and the key in its header", () => {
  const {body, form, headers} = requestOf("echo", {n: numberOf("9007199254740993")}, {queue: "mail", delay_s: 1.5, idempotency_key: 'a"b'}, []);
  assert.equal(body, '{"type":"echo","args":{"n":9007199254740993},"queue":"mail","delay_s":1.5}');
  assert.equal(form, undefined);
  assert.deepEqual(headers, {"Idempotency-Key": '"a\\"b"'});
});

test("with files the job is the first part of a form", async () => {
  const file = new File(["abc"], "<b>.txt");
  const {form, body} = requestOf("digest", {}, {}, [{part: "one", file}]);
  assert.equal(body, undefined);
  const parts = [...form];
  assert.deepEqual(parts.map(([name]) => name), ["job", "one"]);
  assert.equal(await parts[0][1].text(), '{"type":"digest","args":{}}');
  assert.deepEqual([parts[1][1].name, await parts[1][1].text()], ["<b>.txt", "abc"]);
});

test("options are checked as the server checks them", () => {
  const faults = (options) => faultsOf(options, OPTIONS).map(({pointer}) => pointer);
  assert.deepEqual(faults({queue: "default", priority: 9, unique: "x", run_at: "2026-01-31T12:00:00Z"}), []);
  assert.deepEqual(faults({unique: {value: "x", mode: "replace"}}), []);
  assert.deepEqual(faults({queue: "nope", priority: 10, timeout_s: 0, unique: {value: "x", mode: "steal"}, idempotency_key: "\u00e9"}), [
    "/queue",
    "/priority",
    "/timeout_s",
    "/unique/mode",
    "/idempotency_key",
  ]);
});

test("the server's faults go to the form that has the field", () => {
  const told = faultsByForm([
    {pointer: "/args/size/width", detail: "a"},
    {pointer: "/args", detail: "b"},
    {pointer: "/delay_s", detail: "c"},
    {pointer: "/type", detail: "d"},
  ]);
  assert.deepEqual(told, {
    args: [{pointer: "/size/width", detail: "a"}, {pointer: "", detail: "b"}],
    options: [{pointer: "/delay_s", detail: "c"}],
    others: [{pointer: "/type", detail: "d"}],
  });
  assert.deepEqual(faultsByForm(undefined), {args: [], options: [], others: []});
});

test("hidden values of a job have to be entered anew, and no others", () => {
  const given = parse('{"password":"•••","user":{"token":"•••"},"dots":"•••","n":9007199254740993,"list":[{"password":"•••"}]}');
  const {args, hidden} = argumentsAgain(given, ["password", "user.token"], "hidden");
  assert.deepEqual(hidden, ["/password", "/user/token", "/list/0/password"]);
  assert.ok(args.password instanceof Draft && args.user.token instanceof Draft);
  assert.deepEqual([args.dots, String(args.n)], ["•••", "9007199254740993"]);
});

test("arguments that are hidden as a whole, or released, leave an empty form", () => {
  assert.deepEqual(argumentsAgain("•••", [], ""), {args: {}, hidden: ["/"]});
  assert.deepEqual(argumentsAgain(null, [], ""), {args: {}, hidden: []});
});

test("a type without a schema takes any object", () => {
  for (const schema of [undefined, null, 5, {type: "array"}, "object"]) assert.equal(argumentsSchema({arguments: schema}).type, "object");
});
