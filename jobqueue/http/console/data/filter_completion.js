/** Completion in a filter: what may stand at the caret. */

import {STRINGS} from "../strings.js";
import {ERRORS, QUALIFIERS, termOf} from "./filter.js";
import {STATES} from "./states.js";

const OPTIONS_MAX = 12;
const T = STRINGS.filter;

/**
 * Return what may stand at the caret, and the part of the text that it replaces.
 *
 * @param {string} text The filter.
 * @param {number} caret A position in it.
 * @param {{types?: string[], queues?: string[], args?: string[]}} known Names that the server has; `args` are those of
 *     the arguments of the type in the filter.
 * @returns {{start: number, end: number, options: {text: string, label: string, hint: string}[]}}
 */
export function completionOf(text, caret, known = {}) {
  const start = startOfTerm(text, caret);
  const end = caret + /^[^\s]*/.exec(text.slice(caret))[0].length;
  const typed = text.slice(start, caret);
  const colon = typed.startsWith('"') ? -1 : typed.indexOf(":");
  const options = colon < 0 ? names(typed, known) : values(typed.slice(0, colon), typed.slice(colon + 1), known);
  return {start, end, options: options.slice(0, OPTIONS_MAX)};
}

/** Put an option in its place; return the new text, and where the caret stands then. */
export function completed(text, {start, end}, option) {
  const space = option.text.endsWith(":") || text[end] === " " ? "" : " ";
  return {text: text.slice(0, start) + option.text + space + text.slice(end), caret: start + option.text.length + space.length};
}

/** Return where the condition at the caret begins: after the last space that is not in quotes. */
function startOfTerm(text, caret) {
  let [start, inQuotes] = [0, false];
  for (let at = 0; at < caret; at += 1) {
    if (inQuotes && text[at] === "\\") at += 1;
    else if (text[at] === '"') inQuotes = !inQuotes;
    else if (!inQuotes && /\s/.test(text[at])) start = at + 1;
  }
  return start;
}

function names(typed, known) {
  const found = Object.keys(QUALIFIERS).map((name) => ({text: `${name}:`, label: `${name}:`, hint: T.qualifiers[name]}));
  const args = known.args?.length ? known.args.map((name) => `arg.${name}:`) : ["arg."];
  const ofArgs = args.map((name) => ({text: name, label: name.endsWith(":") ? name : "arg.NAME:", hint: T.qualifiers.arg}));
  return [...found, ...ofArgs].filter(({text}) => text.startsWith(typed.toLowerCase()) && text !== typed);
}

function values(name, typed, known) {
  const plain = typed.replace(/^"/, "").toLowerCase();
  const option = (value, hint = "") => ({text: termOf(name, value), label: value, hint});
  const matching = (words) => {
    const lower = (word) => word.toLowerCase();
    const begin = words.filter((word) => lower(word).startsWith(plain));
    const inside = words.filter((word) => !lower(word).startsWith(plain) && lower(word).includes(plain));
    return [...begin, ...inside].map((word) => option(word));
  };
  if (name === "state") return matching(STATES);
  if (name === "error") return matching(ERRORS);
  if (name === "type") return matching(known.types ?? []);
  if (name === "queue") return matching(known.queues ?? []);
  if (name === "sort") return matching(["newest", "oldest"]);
  if (!["older", "newer", "since", "until"].includes(name)) return [];
  if (/^\d+$/.test(plain)) return ["s", "m", "h", "d"].map((unit) => option(`${plain}${unit}`, T.units[unit]));
  return plain ? [] : Object.entries(T.ago).map(([value, hint]) => option(value, hint));
}
