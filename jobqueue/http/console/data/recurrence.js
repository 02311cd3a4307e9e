/**
 * Recurrences in words: intervals, and cron notations as far as there are plain words for them.
 *
 * Rules:
 *
 * 1. The notation is that of the server: minute, hour, day of the month, month, day of the week.
 * 2. A notation is told in words as a whole or not at all: a part that is not understood is never left out.
 * 3. Where both days are given, either is enough.
 */

import {durationText} from "../components/duration.js";
import {STRINGS} from "../strings.js";

const S = STRINGS.recurrence;
const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const TIMES_MAX = 4;

/** Each field: its least and greatest number, and the names of its numbers. */
const FIELDS = {
  minute: {least: 0, greatest: 59, names: []},
  hour: {least: 0, greatest: 23, names: []},
  day: {least: 1, greatest: 31, names: []},
  month: {least: 1, greatest: 12, names: MONTHS, first: 1},
  weekday: {least: 0, greatest: 7, names: DAYS, first: 0},
};

/** Return when a schedule gives its ticks, in words; null: there are none for its notation. */
export function wordsOf({every_s: everyS, cron}) {
  return everyS === null ? cronWords(cron) : S.every(durationText(everyS));
}

/** Return a cron notation in words, or null. */
export function cronWords(notation) {
  const given = notation.trim().split(/\s+/);
  if (given.length !== 5) return null;
  const [minute, hour, day, month, weekday] = given;
  const parsed = {minute: termsOf(minute, FIELDS.minute), hour: termsOf(hour, FIELDS.hour), month: termsOf(month, FIELDS.month)};
  if (Object.values(parsed).includes(null)) return null;
  const days = daysWords(day, weekday);
  if (days === null) return null;
  const time = timeWords(parsed.minute, parsed.hour);
  const months = parsed.month === "*" ? null : monthWords(parsed.month);
  if (time === null || (months === null && parsed.month !== "*")) return null;
  const isDaily = days === "" && months === null && hasTimes(parsed.minute, parsed.hour);
  return [isDaily ? S.daily(time) : time, days, months].filter(Boolean).join(" ");
}

/**
 * Return the terms of a field: "*" for all, else a list of `{from, to, step}`, `to` null for one number and `from` null
 * for all of them; null: a term is not understood.
 */
function termsOf(text, field) {
  if (text === "*") return "*";
  const terms = text.split(",").map((term) => termOf(term, field));
  return terms.includes(null) ? null : terms;
}

function termOf(term, field) {
  const [, range, step] = /^([^/]+)(?:\/(\d{1,2}))?$/.exec(term) ?? [];
  if (range === undefined) return null;
  if (range === "*") return step ? {from: null, to: null, step: Number(step)} : null;
  const [first, last, ...more] = range.split("-").map((each) => numberOf(each, field));
  if (more.length || [first, last].includes(null) || (last === undefined && step)) return null;
  return {from: first, to: last ?? null, step: step ? Number(step) : 1};
}

function numberOf(text, {least, greatest, names, first}) {
  const named = names.indexOf(text.toUpperCase());
  const number = named >= 0 ? named + first : /^\d{1,2}$/.test(text) ? Number(text) : null;
  return number !== null && number >= least && number <= greatest ? number : null;
}

const isList = (terms) => Array.isArray(terms) && terms.every(({from, to}) => from !== null && to === null);
const numbers = (terms) => terms.map(({from}) => from);
const isStep = (terms) => Array.isArray(terms) && terms.length === 1 && terms[0].from === null;

/** Whether the times of day can be told one by one. */
const hasTimes = (minute, hour) => isList(minute) && isList(hour) && minute.length * hour.length <= TIMES_MAX;

/** The time of day: minutes and hours. */
function timeWords(minute, hour) {
  if (hasTimes(minute, hour)) {
    const times = numbers(hour).flatMap((each) => numbers(minute).map((of) => [each, of]));
    return S.at(S.list(times.sort(([a, b], [c, d]) => a - c || b - d).map(([h, m]) => `${padded(h)}:${padded(m)}`)));
  }
  const minutes = minuteWords(minute);
  if (minutes === null) return null;
  if (hour === "*") return isFull(minute) ? S.fullHour : isList(minute) ? S.ofEachHour(minutes) : minutes;
  if (isStep(hour)) return isFull(minute) ? S.everyHours(hour[0].step) : S.inEveryHours(minutes, hour[0].step);
  const hours = rangesWords(hour, (number) => `${padded(number)}:00`);
  if (hours === null) return null;
  return isFull(minute) ? S.fullHours(hours) : (hour.length === 1 && hour[0].to === null ? S.inHour : S.inHours)(minutes, hours);
}

const isFull = (minute) => isList(minute) && minute.length === 1 && minute[0].from === 0;

function minuteWords(minute) {
  if (minute === "*") return S.eachMinute;
  if (isStep(minute)) return S.everyMinutes(minute[0].step);
  const ranges = rangesWords(minute, String);
  return ranges === null ? null : S.atMinute(ranges);
}

/** Numbers and ranges; null: one of them has steps, for which there are no short words. */
function rangesWords(terms, text) {
  if (terms.some(({from, step}) => from === null || step !== 1)) return null;
  return S.list(terms.map(({from, to}) => (to === null ? text(from) : S.range(text(from), text(to)))));
}

function monthWords(terms) {
  const months = rangesWords(terms, (number) => S.months[number - 1]);
  return months === null ? null : S.inMonths(months);
}

/** The days; empty for each day, null if they are not understood. */
function daysWords(day, weekday) {
  const ofMonth = day === "*" ? "" : monthDayWords(day);
  const ofWeek = weekday === "*" ? "" : weekdayWords(weekday);
  if (ofMonth === null || ofWeek === null) return null;
  return ofMonth && ofWeek ? S.either(ofMonth, ofWeek) : ofMonth || ofWeek;
}

function monthDayWords(day) {
  if (day.toUpperCase() === "L") return S.lastDay;
  if (day.toUpperCase() === "LW") return S.lastWorkday;
  const terms = termsOf(day, FIELDS.day);
  const ranges = terms === null ? null : isStep(terms) ? null : rangesWords(terms, String);
  return ranges === null ? null : S.onDays(ranges);
}

function weekdayWords(weekday) {
  const [, named, place] = /^([A-Za-z]{3}|[0-7])(#[1-5]|[Ll])$/.exec(weekday) ?? [];
  if (place !== undefined) {
    const number = numberOf(named, FIELDS.weekday);
    if (number === null) return null;
    return place[0] === "#" ? S.nth(S.places[Number(place[1]) - 1], S.weekdays[number % 7]) : S.nth(S.last, S.weekdays[number % 7]);
  }
  const terms = termsOf(weekday, FIELDS.weekday);
  const ranges = terms === null || isStep(terms) ? null : rangesWords(terms, (number) => S.weekdays[number % 7]);
  return ranges === null ? null : S.onWeekdays(ranges);
}

const padded = (number) => String(number).padStart(2, "0");
