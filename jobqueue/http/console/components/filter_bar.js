/**
 * The filter bar: a field for the filter language, with completion, and with its faults marked where they are.
 *
 * Rules:
 *
 * 1. The text is applied by Enter, by a button, or when the field is left; a text with a fault is never applied.
 * 2. Completion is a list box: Down and Up choose, Enter or Tab take, Escape closes it.
 * 3. A fault is marked in a copy of the text below the field, with what would be right there.
 */

import {html, useEffect, useMemo, useRef, useState} from "../ui.js";
import {FILTER_LENGTH_MAX, parseFilter} from "../data/filter.js";
import {completed, completionOf} from "../data/filter_completion.js";
import {STRINGS} from "../strings.js";
import {Text, visibleText} from "./text.js";

const TEXTS = STRINGS.filter;
const FAULTS_SHOWN = 3;

/**
 * @param {object} props
 * @param {string} props.value The applied text.
 * @param {function(string): void} props.onApply Called with a text without faults.
 * @param {{types?: string[], queues?: string[], argsOf?: function(string): string[]}} props.known Names for completion.
 */
export function FilterBar({value, onApply, known = {}}) {
  const [draft, setDraft] = useState(value);
  const [caret, setCaret] = useState(null);
  const [active, setActive] = useState(-1);
  const field = useRef(null);
  useEffect(() => setDraft(value), [value]);
  const filter = useMemo(() => parseFilter(draft), [draft]);
  const offers = useMemo(() => (caret === null ? NONE : completionOf(draft, caret, withArgs(known, filter))), [draft, caret, known]);
  const open = caret !== null && offers.options.length > 0;
  const faults = filter.faults.filter(({start, end}) => !(open && start <= caret && caret <= end)); // that one is being typed
  const put = (text, at) => {
    setDraft(text);
    setActive(-1);
    setCaret(at);
    requestAnimationFrame(() => field.current?.setSelectionRange(at, at));
  };
  const take = (option) => {
    const next = completed(draft, offers, option);
    put(next.text, next.caret);
    field.current?.focus();
  };
  const apply = (text) => {
    setCaret(null);
    if (!parseFilter(text).faults.length && text.trim() !== value.trim()) onApply(text.trim());
  };
  const mend = (text) => {
    put(text, text.length);
    apply(text);
  };
  const onKeyDown = (event) => {
    const chosen = open ? offers.options[active] : undefined;
    if (event.key === "Escape" && open) setCaret(null);
    else if (open && event.key === "ArrowDown") setActive(next(active, offers.options.length, 1));
    else if (open && event.key === "ArrowUp") setActive(next(active, offers.options.length, -1));
    else if (chosen && (event.key === "Enter" || event.key === "Tab")) take(chosen);
    else if (event.key === "Enter") apply(draft);
    else return;
    event.preventDefault();
  };
  return html`<div class="filter-bar">
    <div class="filter-field">
      <input ref=${field} type="text" data-search role="combobox" aria-label=${TEXTS.label} placeholder=${TEXTS.placeholder}
        aria-expanded=${open} aria-controls="filter-offers" aria-autocomplete="list" aria-invalid=${faults.length > 0}
        aria-activedescendant=${open && active >= 0 ? `filter-offer-${active}` : undefined} aria-describedby="filter-faults"
        autocomplete="off" autocapitalize="off" spellcheck="false" maxlength=${FILTER_LENGTH_MAX + 1} value=${draft}
        onInput=${(event) => put(event.target.value, event.target.selectionStart)}
        onClick=${(event) => setCaret(event.target.selectionStart)}
        onFocus=${(event) => setCaret(event.target.selectionStart)}
        onBlur=${() => apply(draft)} onKeyDown=${onKeyDown} />
      ${open && html`<ul id="filter-offers" class="filter-offers" role="listbox" aria-label=${TEXTS.offers}>
        ${offers.options.map((option, index) => html`
          <li id=${`filter-offer-${index}`} key=${option.text} role="option" aria-selected=${index === active}
            onMouseDown=${(event) => (event.preventDefault(), take(option))}>
            <code>${visibleText(option.label, 60)}</code> <span class="muted">${option.hint}</span></li>`)}
      </ul>`}
    </div>
    <button type="button" class="button" disabled=${!draft} onClick=${() => (setDraft(""), apply(""))}>${TEXTS.clear}</button>
    <div id="filter-faults" class="filter-faults" role="status">
      ${faults.length > 0 && html`<${Faults} text=${draft} faults=${faults} onMend=${mend} />`}
    </div>
  </div>`;
}

const NONE = {start: 0, end: 0, options: []};

function withArgs(known, filter) {
  const type = filter.terms.find(({name}) => name === "type")?.value;
  return {...known, args: type && known.argsOf ? known.argsOf(type) : []};
}

function next(active, count, step) {
  const at = active + step;
  return at < -1 ? count - 1 : at >= count ? -1 : at;
}

/** The faults of a text: a copy with marks, and a line for each of the first ones. */
function Faults({text, faults, onMend}) {
  const parts = [];
  let at = 0;
  for (const {start, end} of faults) {
    parts.push(html`<${Text} value=${text.slice(at, start)} max=${400} />`);
    parts.push(html`<mark><${Text} value=${text.slice(start, end) || " "} max=${200} /></mark>`);
    at = end;
  }
  parts.push(html`<${Text} value=${text.slice(at)} max=${400} />`);
  return html`<p class="filter-marked mono" aria-hidden="true">${parts}</p>
    <ul>
      ${faults.slice(0, FAULTS_SHOWN).map((fault) => html`<li key=${fault.start}><${Text} value=${fault.detail} max=${300} />
        ${fault.instead !== null && html` <${Mend} text=${text} fault=${fault} onMend=${onMend} />`}</li>`)}
    </ul>`;
}

function Mend({text, fault: {start, end, instead}, onMend}) {
  const label = instead ? html`${TEXTS.use} <code>${visibleText(instead, 60)}</code>` : TEXTS.remove;
  return html`<button type="button" class="button small" onMouseDown=${(event) => event.preventDefault()}
    onClick=${() => onMend(mended(text, start, end, instead))}>${label}</button>`;
}

function mended(text, start, end, instead) {
  return `${text.slice(0, start)}${instead}${text.slice(end)}`.replace(/\s+$/, "") + (instead.endsWith(":") ? "" : " ");
}
