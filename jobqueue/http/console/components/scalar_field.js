/** The control of a single value: a text, a number, a date, a truth value or a choice. */

import {numberOf} from "../data/exact_json.js";
import {Draft} from "../data/schema_check.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {usePlace} from "./form_place.js";

const S = STRINGS.form;
const SHORT_MAX = 100;

/** @param {object} props As of the other controls: `form`, `value`, `onChange`, `pointer`, `required`. */
export function ScalarField(props) {
  const {kind} = props.form;
  if (kind === "boolean") return html`<${BooleanControl} ...${props} />`;
  if (kind === "enum") return html`<${Choice} ...${props} />`;
  if (kind === "integer" || kind === "number") return html`<${NumberControl} ...${props} />`;
  return html`<${TextControl} ...${props} />`;
}

const textOf = (value) => (value instanceof Draft ? value.text : value === undefined || value === null ? "" : String(value));

function TextControl({form: {schema}, value, onChange, pointer, required}) {
  const {attributes} = usePlace(pointer);
  const onInput = (event) => onChange(event.target.value === "" && !required ? undefined : event.target.value);
  const common = {...attributes, value: textOf(value), onInput, autocomplete: "off", spellcheck: false, dir: "auto", required};
  if (schema.format === "date") return html`<input type="date" ...${common} />`;
  if (schema.format === "date-time") {
    const now = () => onChange(new Date().toISOString());
    return html`<div class="row">
      <input type="text" class="grow" placeholder="2026-01-31T12:00:00Z" ...${common} />
      <button type="button" class="button small" onClick=${now}>${S.now}</button>
    </div>`;
  }
  const isShort = typeof schema.format === "string" || (schema.maxLength ?? Infinity) <= SHORT_MAX;
  const hasLines = textOf(value).includes("\n");
  if (isShort && !hasLines) return html`<input type="text" ...${common} />`;
  return html`<textarea rows=${hasLines ? 4 : 1} ...${common}></textarea>`;
}

/** A number is entered as text: no digit is lost, and what is not a number yet stays as it was typed. */
function NumberControl({form: {kind}, value, onChange, pointer, required}) {
  const {attributes} = usePlace(pointer);
  const onInput = (event) => onChange(entered(event.target.value.trim(), kind));
  return html`<input type="text" inputmode=${kind === "integer" ? "numeric" : "decimal"} ...${attributes} value=${textOf(value)}
    onInput=${onInput} autocomplete="off" required=${required} />`;
}

function entered(text, kind) {
  if (text === "") return undefined;
  return numberOf(text.replace(/^\+/, "")) ?? new Draft(text, kind === "integer" ? S.noInteger : S.noNumber);
}

function BooleanControl({value, onChange, pointer, required}) {
  const {attributes} = usePlace(pointer);
  if (required) {
    const onTick = (event) => onChange(event.target.checked);
    return html`<label class="check">
      <input type="checkbox" ...${attributes} checked=${value === true} onChange=${onTick} /> ${value === true ? "true" : "false"}
    </label>`;
  }
  const onChoose = (event) => onChange(event.target.value === "" ? undefined : event.target.value === "true");
  return html`<select ...${attributes} value=${value === undefined ? "" : String(value)} onChange=${onChoose}>
    <option value="">${S.notGiven}</option><option value="true">true</option><option value="false">false</option>
  </select>`;
}

function Choice({form: {choices}, value, onChange, pointer, required}) {
  const {attributes} = usePlace(pointer);
  const at = choices.findIndex((each) => each === value || String(each) === String(value));
  const onChoose = (event) => onChange(event.target.value === "" ? undefined : choices[Number(event.target.value)]);
  return html`<select ...${attributes} value=${at < 0 ? "" : String(at)} onChange=${onChoose}>
    ${(!required || at < 0) && html`<option value="">${required ? S.choose : S.notGiven}</option>`}
    ${choices.map((each, n) => html`<option key=${n} value=${String(n)}>${typeof each === "string" ? each : JSON.stringify(each)}</option>`)}
  </select>`;
}
