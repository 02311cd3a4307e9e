/**
 * A field of a form: label, control and faults of one value, whatever its schema.
 *
 * Rules:
 *
 * 1. The control follows from the schema's form (`data/json_schema.js`): a text, a number, a choice, a list, an object,
 *    a choice among forms; and JSON for all else, and below `FORM_DEPTH_MAX`.
 * 2. A value that is not given is undefined, and is not sent. What is entered and can't be a value yet is a `Draft`.
 * 3. Texts of the schema are the application's: shown as text, cut.
 */

import {FORM_DEPTH_MAX, formOf, freshOf, membersOf, summaryOf} from "../data/json_schema.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {ArrayField} from "./array_field.js";
import {begunValue, usePlace} from "./form_place.js";
import {JsonField} from "./json_field.js";
import {ObjectField} from "./object_field.js";
import {ScalarField} from "./scalar_field.js";
import {Text} from "./text.js";
import {UnionField} from "./union_field.js";

const S = STRINGS.form;
const MEMBERS_MAX = 200;
/** Kinds of several controls, which are a group. */
const COMPOSED = ["array", "object", "union"];
/** Kinds that are shown once they are added, where they may be missing. */
const ADDED = [...COMPOSED, "any"];

const CONTROLS = {array: ArrayField, object: ObjectField, union: UnionField, any: JsonField};

/**
 * @param {object} props
 * @param {string} props.label
 * @param {any} props.schema
 * @param {any} props.value Undefined: not given.
 * @param {function(any): void} props.onChange
 * @param {string} props.pointer
 * @param {boolean} [props.required]
 * @param {boolean} [props.bare] Without a label of its own: it stands within another field.
 * @param {number} [props.depth]
 */
export function Field({label, schema: given, value, onChange, pointer, required = false, bare = false, depth = 0}) {
  const place = usePlace(pointer);
  const form = shownForm(formOf(given, place.root), depth);
  const composed = COMPOSED.includes(form.kind);
  const added = ADDED.includes(form.kind);
  const isGiven = value !== undefined;
  const Control = CONTROLS[form.kind] ?? ScalarField;
  const inner = {form, value, onChange, pointer, required, depth, Field};
  const shown = form.kind !== "null" && value !== null && (isGiven || !added || required);
  // Those of a union stand at the form that is chosen.
  const told = shown && form.kind === "union" ? [] : place.faults;
  const faults = told.map((detail) => html`<p class="fault"><${Text} value=${detail} max=${300} /></p>`);
  return html`
    <div class=${`field schema-field ${composed ? "composed" : ""}`} role=${composed && !bare ? "group" : undefined}
      aria-labelledby=${composed && !bare ? `${place.id}-label` : undefined}>
      ${!bare && html`<${Head} ...${{label, form, place, required, value, onChange, given, composed, added}} />`}
      ${shown && html`<${Control} ...${inner} />`}
      ${(form.kind !== "union" || !shown) && html`<div id=${`${place.id}-fault`} aria-live="polite">${faults}</div>`}
    </div>`;
}

/** The form that is shown: JSON where there is no room for a form, or too much of it. */
function shownForm(form, depth) {
  const deep = depth >= FORM_DEPTH_MAX && COMPOSED.includes(form.kind);
  const large = form.kind === "object" && membersOf(form.schema).length > MEMBERS_MAX;
  return deep || large ? {...form, kind: "any"} : form;
}

function Head({label, form, place, required, value, onChange, given, composed, added}) {
  const {description, default: preset} = form.schema;
  const mark = required ? html`<span class="required" title=${S.required}> *</span>` : html`<span class="muted"> ${S.optional}</span>`;
  const name = html`<${Text} value=${label} max=${60} />${mark}`;
  const hasDefault = preset !== undefined && !added;
  return html`
    <div class="field-head">
      ${composed ? html`<span class="label" id=${`${place.id}-label`}>${name}</span>` : html`<label for=${place.id}>${name}</label>`}
      <span class="hint" id=${`${place.id}-hint`}>
        <${Text} value=${summaryOf(given, place.root)} max=${120} />
        ${hasDefault && html`, ${S.preset} <${Text} value=${JSON.stringify(preset)} max=${60} />`}
      </span>
      <span class="field-tools">
        ${form.nullable && form.kind !== "null" && html`<${NullBox} ...${{label, value, onChange, given, place}} />`}
        ${added && !required && html`<${Presence} ...${{label, value, onChange, given, place}} />`}
      </span>
    </div>
    ${typeof description === "string" && html`<p class="hint"><${Text} value=${description} max=${200} /></p>`}`;
}

function NullBox({label, value, onChange, given, place}) {
  const change = (event) => onChange(event.target.checked ? null : freshOf(given, place.root));
  return html`<label class="check"><input type="checkbox" checked=${value === null} onChange=${change} aria-label=${S.nullOf(label)} /> null</label>`;
}

/** Adds a member that may be missing, and removes it. */
function Presence({label, value, onChange, given, place}) {
  if (value !== undefined) {
    return html`<button type="button" class="button small" aria-label=${S.removeOf(label)} onClick=${() => onChange(undefined)}>${S.remove}</button>`;
  }
  const add = () => onChange(begunValue(given, place.root));
  return html`<button type="button" class="button small" aria-label=${S.addOf(label)} onClick=${add}>${S.add}</button>`;
}
