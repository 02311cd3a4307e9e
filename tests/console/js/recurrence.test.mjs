/** Recurrences in words: as a whole, or not at all. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {cronWords, wordsOf} from "../../../jobqueue/http/console/data/recurrence.js";

const WORDS = {
  "* * * * *": "each minute",
  "*/15 * * * *": "every 15 minutes",
  "0 * * * *": "each full hour",
  "15,45 * * * *": "at minute 15 and 45 of each hour",
  "0 */2 * * *": "every 2 hours",
  "30 */6 * * *": "at minute 30, every 6 hours",
  "0 3 * * *": "each day at 03:00",
  "30 8,17 * * *": "each day at 08:30 and 17:30",
  "0 12 * * MON-FRI": "at 12:00 on Monday to Friday",
  "0 12 * * 1,3,7": "at 12:00 on Monday, Wednesday and Sunday",
  "*/20 8-18 * * *": "every 20 minutes, in the hours 08:00 to 18:00",
  "0 8-18 * * 1-5": "each full hour, 08:00 to 18:00 on Monday to Friday",
  "0 0 1 * *": "at 00:00 on day 1 of the month",
  "0 0 1,15 JAN,7 *": "at 00:00 on day 1 and 15 of the month in January and July",
  "0 6 L * *": "at 06:00 on the last day of the month",
  "0 6 LW * *": "at 06:00 on the last working day of the month",
  "0 6 * * FRI#2": "at 06:00 on the second Friday of the month",
  "0 6 * * 5L": "at 06:00 on the last Friday of the month",
  "0 0 13 * FRI": "at 00:00 on day 13 of the month or on Friday",
  "5-10 2 * * *": "at minute 5 to 10, in the hour of 02:00",
  "0 3 * 6-8 *": "at 03:00 in June to August",
};

for (const [notation, words] of Object.entries(WORDS)) {
  test(`${notation} is ${words}`, () => assert.equal(cronWords(notation), words));
}

test("what is not understood as a whole has no words", () => {
  const odd = ["", "* * * *", "* * * * * *", "61 * * * *", "0 24 * * *", "1-20/3 * * * *", "0 0 */2 * *", "0 0 1W * *", "0 0 * * FRI#6", "a b c d e", "0 0 * * MON#2,L"];
  for (const notation of odd) assert.equal(cronWords(notation), null, notation);
});

test("an interval is told with its units", () => {
  assert.equal(wordsOf({every_s: 300, cron: null}), "every 5 min");
  assert.equal(wordsOf({every_s: 5400, cron: null}), "every 1 h 30 min");
});
