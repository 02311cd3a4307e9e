/**
 * Text of strangers: names, arguments, errors, notes. Shown as text, cut, with the rest on demand.
 *
 * Controls, characters without width, and those that turn the direction of the text are shown by their code points: none
 * can hide a part, or make it read as another.
 */

import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff]/u;
const ALL_HIDDEN = new RegExp(HIDDEN.source, "gu");
const SHOWN_MAX = 100_000;

/** Return a text with its hidden characters as code points, such as `<U+202E>`: where only a string can stand. */
export function visibleText(value, max = 200) {
  const text = String(value ?? "");
  const part = text.length > max ? `${cut(text, max)}…` : text;
  return part.replace(ALL_HIDDEN, named);
}

/**
 * @param {object} props `value`: anything; `max`: characters that are shown at first; `pre`: keeps lines and spaces.
 */
export function Text({value, max = 200, pre = false}) {
  const [whole, setWhole] = useState(false);
  const text = typeof value === "string" ? value : String(value ?? "");
  const limit = whole ? SHOWN_MAX : max;
  const part = text.length > limit ? cut(text, limit) : text;
  const left = text.length - part.length;
  return html`
    <span class=${pre ? "text pre" : "text"} dir="auto">${pieces(part)}${left > 0 && "…"}</span>${text.length > max && html`
    <button class="button small bare" aria-expanded=${whole} onClick=${(event) => {
      event.stopPropagation();
      setWhole(!whole);
    }}>${whole ? STRINGS.text.less : STRINGS.text.more(text.length - max)}</button>`}${whole && left > 0 && html`
    <span class="muted">${STRINGS.text.beyond(left)}</span>`}`;
}

function cut(text, length) {
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? length - 1 : length);
}

function pieces(text) {
  if (!HIDDEN.test(text)) return text;
  const found = [];
  let from = 0;
  for (const match of text.matchAll(ALL_HIDDEN)) {
    if (match.index > from) found.push(text.slice(from, match.index));
    found.push(html`<span class="hidden-character" title=${STRINGS.text.hidden}>${codeOf(match[0])}</span>`);
    from = match.index + match[0].length;
  }
  found.push(text.slice(from));
  return found;
}

const codeOf = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const named = (character) => `<${codeOf(character)}>`;
