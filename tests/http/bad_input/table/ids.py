"""Ids of jobs, names of queues, and queries of lists."""

from __future__ import annotations

from tests.http.bad_input.row import Row, get, sent

ACTIONS = ("cancel", "retry", "run")
NOT_FOUND, GONE = "job-not-found", "job-gone"


def unknown(name: str, job_id: str) -> Row:
    return Row(f"an id {name}", get(f"/v1/jobs/{job_id}"), 404, NOT_FOUND)


def nowhere(name: str, path: str) -> Row:
    return Row(name, get(path), 404, "not-found")


def query(name: str, text: str, says: str = "") -> Row:
    return Row(f"a query: {name}", get(f"/v1/jobs?{text}"), 400, "malformed-request", says)


def action(name: str, path: str, status: int, problem: str, method: str = "POST") -> Row:
    return Row(name, sent(method, path, b""), status, problem)


ROWS = [
    # -- ids
    unknown("of one character", "x"),
    unknown("of 21 characters", "0" * 21),
    unknown("of 23 characters", "0" * 23),
    unknown("of 900 characters", "x" * 900),
    unknown("of zeros", "0" * 22),
    unknown("of dashes", "-" * 22),
    unknown("of dots", "." * 22),
    unknown("of a dot", "."),
    unknown("with a character too many", "{DONE}0"),
    unknown("with a space at the end", "{DONE}%20"),
    unknown("with a line feed at the end", "{DONE}%0A"),
    unknown("with a NUL at the end", "{DONE}%00"),
    unknown("with a NUL at the beginning", "%00{DONE}"),
    unknown("in escaped quotes", "%22{DONE}%22"),
    unknown("with an escape that is no UTF-8", "%ff"),
    unknown("with an escaped surrogate", "%ED%A0%80"),
    unknown("with an overlong slash", "%c0%af"),
    unknown("with an escape without its end", "%"),
    unknown("with an escape of no number", "%zz"),
    unknown("with an escaped percent sign", "%2530"),
    unknown("in characters of four bytes", "%F0%9F%98%80" * 22),
    unknown("in full-width digits", "%EF%BC%90" * 22),
    unknown("with an escaped slash", "{DONE}%2Fresult"),
    unknown("of SQL", "'%20OR%201=1--"),
    unknown("of a template", "%7B%7B7*7%7D%7D"),
    Row(
        "an id whose last character is another",
        get("/v1/jobs/{DONE}").replace(b"{DONE}", b"z{DONE}"[:7]),
        404,
        NOT_FOUND,
    ),
    Row("an id of which the record is gone", get("/v1/jobs/{GONE}"), 410, GONE, '"reason":"evicted"'),
    Row("an id with an escaped character", get("/v1/jobs/{DONE}?"), 200),
    Row("a query of a job", get("/v1/jobs/{DONE}?%ff=&&=&x"), 400, "malformed-request", "unknown query parameter"),
    Row("a HEAD of an id in small", get("/v1/jobs/x", method="HEAD"), 404),
    Row("a HEAD of an id that is gone", get("/v1/jobs/{GONE}", method="HEAD"), 410),
    # -- paths below
    nowhere("an action between escaped colons", "/v1/jobs/{DONE}%3Acancel%3A"),
    nowhere("a slash at the end of an id", "/v1/jobs/{DONE}/"),
    nowhere("an empty id", "/v1/jobs/"),
    nowhere("an empty id and a result", "/v1/jobs//result"),
    nowhere("an unknown part of a job", "/v1/jobs/{DONE}/nope"),
    nowhere("a part of a result", "/v1/jobs/{DONE}/result/x"),
    nowhere("a way up", "/v1/jobs/{DONE}/../{DONE}"),
    nowhere("a way up, escaped", "/v1/jobs/%2e%2e%2fqueues/x"),
    nowhere("a parameter of a path", "/v1/jobs;x=y"),
    nowhere("a version that does not exist", "/v2/jobs"),
    nowhere("no version", "/jobs"),
    Row("the result of an unknown id", get("/v1/jobs/x/result"), 404, NOT_FOUND),
    Row("the result of a live job", get("/v1/jobs/{HELD}/result"), 409, "wrong-state", '"state":"running"'),
    Row("the result of a failed job", get("/v1/jobs/{FAILED}/result"), 409, "wrong-state", '"state":"failed"'),
    Row("the result of an id that is gone", get("/v1/jobs/{GONE}/result"), 410, GONE),
    Row("the events of an unknown id", get("/v1/jobs/%00/events"), 404, NOT_FOUND),
    Row("the events of an id that is gone", get("/v1/jobs/{GONE}/events"), 410, GONE),
    # -- actions
    *(action(f"{verb}: an unknown id", f"/v1/jobs/x:{verb}", 404, NOT_FOUND) for verb in ACTIONS),
    *(action(f"{verb}: gone", f"/v1/jobs/{{GONE}}:{verb}", 410, GONE) for verb in ACTIONS),
    *(action(f"{verb}: terminal", f"/v1/jobs/{{DONE}}:{verb}", 409, "wrong-state") for verb in ACTIONS),
    action("retry: running", "/v1/jobs/{HELD}:retry", 409, "wrong-state"),
    action("run: running", "/v1/jobs/{HELD}:run", 409, "wrong-state"),
    action("cancel: failed", "/v1/jobs/{FAILED}:cancel", 409, "wrong-state"),
    action("delete: running", "/v1/jobs/{HELD}", 409, "wrong-state", "DELETE"),
    action("delete: delayed", "/v1/jobs/{LATER}", 409, "wrong-state", "DELETE"),
    action("delete: an unknown id", "/v1/jobs/x", 404, NOT_FOUND, "DELETE"),
    action("delete: gone", "/v1/jobs/{GONE}", 410, GONE, "DELETE"),
    action("an unknown action", "/v1/jobs/{HELD}:stop", 404, "not-found"),
    action("an action in capitals", "/v1/jobs/{HELD}:CANCEL", 404, "not-found"),
    action("two actions", "/v1/jobs/{HELD}:run:cancel", 404, "not-found"),
    action("an action without an id", "/v1/jobs/:cancel", 404, "not-found"),
    action("an action of all", "/v1/jobs:stop", 404, "not-found"),
    action("an action with a slash", "/v1/jobs/{HELD}/cancel", 404, "not-found"),
    # -- queues
    *(
        Row(f"a queue named {name}", get(f"/v1/queues/{name}"), 404, "queue-not-found")
        for name in ("nope", "Default", "default%00", "%ff", "%ED%A0%80", "..", "%2e%2e", "x" * 900)
    ),
    Row("a queue without a name", get("/v1/queues/"), 404, "not-found"),
    action("a pause of an unknown queue", "/v1/queues/nope:pause", 404, "queue-not-found"),
    action("a resumption of an unknown queue", "/v1/queues/%ff:resume", 404, "queue-not-found"),
    # -- queries of lists
    query("no ids", "ids=", "1 to 100"),
    query("a comma", "ids=,", "1 to 100"),
    query("an empty id", "ids={DONE},,{HELD}", "1 to 100"),
    query("ids and a filter", "ids={DONE}&state=failed", "can't be combined"),
    query("ids twice", "ids=a&ids=b", "duplicate"),
    query("a limit of 0", "limit=0", "1 to 100"),
    query("a limit below 0", "limit=-1", "1 to 100"),
    query("a limit with a plus", "limit=%2B1", "1 to 100"),
    query("a limit with a fraction", "limit=1.5", "1 to 100"),
    query("a limit with an exponent", "limit=1e1", "1 to 100"),
    query("a limit in another script", "limit=%D9%A3", "1 to 100"),
    query("a limit of spaces", "limit=%20", "1 to 100"),
    query("a limit of 500 digits", "limit=" + "9" * 500, "1 to 100"),
    query("an empty limit", "limit=", "1 to 100"),
    query("a limit without a value", "limit", "1 to 100"),
    query("two limits", "limit=1&limit=2", "duplicate"),
    query("an unknown state", "state=done", "state is one of"),
    query("an empty state", "state=", "state is one of"),
    query("a state in capitals", "state=FAILED", "state is one of"),
    query("two states", "state=queued,running", "state is one of"),
    query("a state that is no UTF-8", "state=%ff", "state is one of"),
    query("an unknown parameter", "status=queued", "unknown query parameter"),
    query("an empty parameter", "=x", "unknown query parameter"),
    query("a parameter in brackets", "ids[]=x", "unknown query parameter"),
    query("a parameter that is no UTF-8", "%ff=x", "unknown query parameter"),
    query("an unknown error", "error=timeout", "did you mean 'timed_out'?"),
    query("an empty prefix", "id_prefix=", "1 to 22"),
    query("a prefix in full-width digits", "id_prefix=%EF%BC%90", "1 to 22"),
    query("a prefix of 900 characters", "id_prefix=" + "0" * 900, "1 to 22"),
    query("an empty parent", "parent=", "is the id of a job"),
    query("a parent of 900 characters", "parent=" + "0" * 900, "is the id of a job"),
    query("a part of a message of 900 characters", "message~=" + "x" * 900, "1 to 200"),
    query("a path without names", "arg.=1", "is no path"),
    query("a path of dots", "arg...=1", "is no path"),
    query("a path of 9 names", "arg." + ".".join("a" * 9) + "=1", "is no path"),
    query("a value of 900 characters", "arg.a=" + "x" * 900, "200 characters"),
    query("9 values", "&".join(f"arg.a{n}=1" for n in range(9)), "8 are allowed"),
    query("one path twice", "arg.a=1&arg.a=2", "duplicate"),
    query("an instant without an offset", "since=2026-01-01T00:00:00", "RFC 3339"),
    query("an instant with a plus that is a space", "since=2026-01-01T00:00:00+00:00", "%2B"),
    query("an instant after all", "until=99999999999999", "RFC 3339"),
    query("an instant of 500 digits", "until=" + "9" * 500, "RFC 3339"),
    query("an instant that is no number", "until=nan", "RFC 3339"),
    query("an unknown order", "sort=down", "newest"),
    query("a count of 2", "count=2", "0, 1"),
    query("an empty cursor", "cursor=", "next_cursor"),
    query("a cursor of one character", "cursor=x", "next_cursor"),
    query("a cursor of NULs", "cursor=" + "%00" * 22, "next_cursor"),
    query("a cursor in full-width digits", "cursor=" + "%EF%BC%90" * 22, "next_cursor"),
    Row("a query: unknown ids", get("/v1/jobs?ids=x,{DONE},%00,%ff,{GONE}"), 200, says='"status":410'),
    Row("a query: one id twice", get("/v1/jobs?ids={DONE},{DONE}"), 200, says="{"),
    Row("a query: a cursor before all jobs", get("/v1/jobs?cursor=" + "-" * 22), 200, says='"jobs":[]'),
    Row("a query: a path that is no UTF-8", get("/v1/jobs?arg.%ff=%ff"), 200, says='"jobs":[]'),
    Row("a query: a path of a NUL", get("/v1/jobs?arg.%00=%00"), 200, says='"jobs":[]'),
    Row("a query: a path of quotes", get("/v1/jobs?arg.%22=%22"), 200, says='"jobs":[]'),
    Row("a query: a part of a message of a NUL", get("/v1/jobs?message~=%00"), 200, says='"jobs":[]'),
    Row("a query: nothing", get("/v1/jobs?"), 200),
    Row("a query: ampersands", get("/v1/jobs?&&&"), 200),
    Row("a query: a type that is no UTF-8", get("/v1/jobs?type=%ff"), 200, says='"jobs":[]'),
    Row("a query: a group of a NUL", get("/v1/jobs?group=%00"), 200, says='"jobs":[]'),
]
