/**
 * JSON as a tree that opens and closes.
 *
 * Rules:
 *
 * 1. It shows the text, not JavaScript's values: numbers keep their digits, repeated names stay.
 * 2. Whatever the size, few elements: `ITEMS_AT_ONCE` members at a time, long strings cut, and levels closed until they
 *    are opened. Below `LEVELS_MAX` levels the rest is text.
 * 3. Texts of jobs are text: nothing of them is markup, and invisible characters are made visible (`Text`).
 * 4. Values that a handler redacts are `•••`, and say so.
 */

import {html, useMemo, useState} from "../ui.js";
import {compact, indented, parseJson, stringOf} from "../data/json_text.js";
import {STRINGS} from "../strings.js";
import {CopyButton} from "./copy_button.js";
import {Text} from "./text.js";

const ITEMS_AT_ONCE = 100;
const LEVELS_MAX = 40;
const OPEN_LEVELS = 3;
const OPEN_ITEMS_MAX = 30;
const STRING_AT_FIRST = 200;
const STRING_MORE = 20_000;
const INDENTED_MAX = 500_000;
const REDACTED = "•••";

/**
 * @param {object} props
 * @param {string} props.text JSON; what isn't is shown as a text.
 * @param {string} props.label What it is, for screen readers.
 */
export function JsonTree({text, label}) {
  const root = useMemo(() => parsed(text), [text]);
  if (root === null) return html`<${Text} value=${text} max=${1000} />`;
  return html`<div class="json" role="group" aria-label=${label}>
    <div class="json-tools"><${CopyButton} text=${() => copied(text, root)} label=${STRINGS.json.copy} /></div>
    <${Value} text=${text} node=${root} level=${0} />
  </div>`;
}

function parsed(text) {
  try {
    return parseJson(text);
  } catch {
    return null;
  }
}

function copied(text, node) {
  return text.length > INDENTED_MAX ? text : indented(text, node);
}

function Value({text, node, level}) {
  if (node.kind === "string") return html`<${Quoted} text=${text} node=${node} />`;
  if (!node.items) return html`<${Word} text=${text} node=${node} />`;
  if (!node.items.length) return html`<span class="json-mark">${node.kind === "object" ? "{}" : "[]"}</span>`;
  if (level >= LEVELS_MAX) return html`<${Text} value=${compact(text, node).slice(0, STRING_MORE)} max=${STRING_AT_FIRST} />`;
  return html`<${Branch} text=${text} node=${node} level=${level} />`;
}

function Word({text, node}) {
  const kind = node.kind === "number" ? "json-number" : "json-word";
  return html`<span class=${kind}><${Text} value=${text.slice(node.start, node.end)} max=${400} /></span>`;
}

function Branch({text, node, level}) {
  const [open, setOpen] = useState(level === 0 || (level < OPEN_LEVELS && node.items.length <= OPEN_ITEMS_MAX));
  const [shown, setShown] = useState(ITEMS_AT_ONCE);
  const left = node.items.length - shown;
  return html`<span class="json-branch">
    <button type="button" class="json-toggle" aria-expanded=${open} onClick=${() => setOpen(!open)}>
      ${STRINGS.json.size(node.kind, node.items.length)}</button>
    ${open && html`<ul>
      ${node.items.slice(0, shown).map(({key, node: child}, index) => html`<li key=${index}>
        <span class="json-key"><${Text} value=${key ?? String(index)} max=${80} /></span><span class="json-mark">: </span>
        <${Value} text=${text} node=${child} level=${level + 1} /></li>`)}
      ${left > 0 && html`<li><${More} onClick=${() => setShown(shown + ITEMS_AT_ONCE)}>${STRINGS.json.more(Math.min(left, ITEMS_AT_ONCE), left)}<//></li>`}
    </ul>`}
  </span>`;
}

function Quoted({text, node}) {
  const [max, setMax] = useState(STRING_AT_FIRST);
  const {value, whole} = stringOf(text, node, max);
  if (value === REDACTED) return html`<${Redacted} />`;
  const left = node.end - node.start - 2 - max;
  const more = () => setMax(max + STRING_MORE);
  const end = whole ? '"' : html`… <${More} onClick=${more}>${STRINGS.json.moreOf(left)}<//>`;
  return html`<span class="json-string">"<${Text} value=${value} max=${max} />${end}</span>`;
}

function Redacted() {
  const {redacted} = STRINGS.json;
  return html`<span class="json-redacted" title=${redacted}>${REDACTED}<span class="visually-hidden"> ${redacted}</span></span>`;
}

function More({onClick, children}) {
  return html`<button type="button" class="button small" onClick=${onClick}>${children}</button>`;
}
