/**
 * Topics: the grammar of topics and patterns, as the server has it, and what a stream of one hands over.
 *
 * Rules:
 *
 * 1. A topic is tokens joined by dots. In a pattern `*` stands for one token, and `>` as the last one for the rest.
 * 2. The data of an event stays the text that came: no number changes.
 */

import {memberOf, parseJson, stringOf} from "./json_text.js";

export const LENGTH_MAX = 200;

/** A topic as a regular expression, beside its length. */
export const TOPIC = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+){0,15}$";

const PATTERN = /^(?:(?:[A-Za-z0-9_-]+|\*)\.){0,15}(?:[A-Za-z0-9_-]+|\*|>)$/;

/** Whether a text is a pattern of topics. */
export const isPattern = (text) => text.length <= LENGTH_MAX && PATTERN.test(text);

/** Whether a text is a topic. */
export const isTopic = (text) => text.length <= LENGTH_MAX && new RegExp(TOPIC).test(text);

/** The path of the stream of a pattern. */
export const streamPath = (pattern) => `v1/topics/${encodeURIComponent(pattern)}/events`;

/**
 * Return what an event of a stream tells.
 *
 * @param {string} text Its data, as it came.
 * @returns {{topic: string, at: string, data: string, omitted: number|null}} `data`: JSON text; `omitted`: its bytes,
 *   where it was too large to be sent.
 */
export function publishedOf(text) {
  const root = parseJson(text);
  const word = (name) => stringOf(text, memberOf(root, name)).value;
  const data = memberOf(root, "data");
  const omitted = memberOf(root, "omitted_bytes");
  return {
    topic: word("topic"),
    at: word("at"),
    data: text.slice(data.start, data.end),
    omitted: omitted === null ? null : Number(text.slice(omitted.start, omitted.end)),
  };
}
