/**
 * A form made from a JSON Schema: its fields, or the same value as JSON, and what is wrong with it.
 *
 * Rules:
 *
 * 1. What the schema refuses is told at its field once the field was left, and everywhere once `showAll` is set.
 * 2. What the server refused (`problems`, by JSON pointer) is told at its field until that field's value changes.
 * 3. Both stand in a summary, too, with a link to each field: some may be far away, or not shown at all.
 */

import {formOf} from "../data/json_schema.js";
import {faultsOf} from "../data/schema_check.js";
import {STRINGS} from "../strings.js";
import {html, useMemo, useRef, useState} from "../ui.js";
import {Field} from "./field.js";
import {FormContext, idOf} from "./form_place.js";
import {JsonField, hasDraft} from "./json_field.js";
import {Text} from "./text.js";

const S = STRINGS.form;
const SUMMARY_MAX = 12;

/** Return the value at a JSON pointer; undefined: there is none. */
export function valueAt(value, pointer) {
  let at = value;
  for (const each of pointer.split("/").slice(1)) {
    const name = each.replaceAll("~1", "/").replaceAll("~0", "~");
    if (at === null || typeof at !== "object" || !Object.hasOwn(at, name)) return undefined;
    at = at[name];
  }
  return at;
}

/**
 * @param {object} props
 * @param {string} props.label
 * @param {string} props.prefix Of the ids of its fields.
 * @param {object} props.schema
 * @param {any} props.value May hold `Draft`s: what was entered and can't be a value yet.
 * @param {function(any): void} props.onChange
 * @param {{pointer: string, detail: string}[]} [props.problems] Of the server, for the value that was sent.
 * @param {any} [props.sent] That value.
 * @param {boolean} [props.showAll]
 * @param {boolean} [props.asJson] Whether it may be switched to JSON.
 */
export function SchemaForm({label, prefix, schema, value, onChange, problems = [], sent, showAll = false, asJson = true}) {
  const [touched, setTouched] = useState(() => new Set());
  const [json, setJson] = useState(false);
  const place = useRef(null);
  const faults = useMemo(() => faultsOf(value, schema), [value, schema]);
  const refused = problems.filter(({pointer}) => valueAt(value, pointer) === valueAt(sent, pointer));
  const shown = [...faults.filter(({pointer}) => showAll || touched.has(pointer)), ...refused];
  const context = {
    root: schema,
    prefix,
    faultsAt: (pointer) => shown.filter((each) => each.pointer === pointer).map(({detail}) => detail),
    faultsBelow: (pointer) => shown.filter((each) => each.pointer.startsWith(`${pointer}/`)).map((each) => ({...each, pointer: each.pointer.slice(pointer.length)})),
    touch: (pointer) => setTouched((before) => (before.has(pointer) ? before : new Set([...before, pointer]))),
  };
  const isForm = !json && formOf(schema, schema).kind === "object";
  return html`
    <fieldset class="schema-form" ref=${place}>
      <legend>${label}</legend>
      ${asJson && html`<${Switch} json=${!isForm} locked=${json && hasDraft(value)} onSwitch=${setJson} />`}
      ${(showAll || refused.length > 0) && shown.length > 0 && html`<${Summary} faults=${shown} prefix=${prefix} place=${place} />`}
      <${FormContext.Provider} value=${context}>
        ${isForm
          ? html`<${Field} bare label=${label} schema=${schema} value=${value} onChange=${(next) => onChange(next ?? {})} pointer="" required />`
          : html`<${JsonField} label=${label} value=${value} onChange=${onChange} pointer="" rows=${8} required />
              <div aria-live="polite">${context.faultsAt("").map((detail) => html`<p class="fault"><${Text} value=${detail} max=${300} /></p>`)}</div>`}
      <//>
    </fieldset>`;
}

function Switch({json, locked, onSwitch}) {
  return html`<div class="row switch" role="group" aria-label=${S.enteredAs}>
    <button type="button" class="button small" aria-pressed=${String(!json)} disabled=${locked} title=${locked ? S.locked : undefined}
      onClick=${() => onSwitch(false)}>${S.asForm}</button>
    <button type="button" class="button small" aria-pressed=${String(json)} onClick=${() => onSwitch(true)}>JSON</button>
  </div>`;
}

function Summary({faults, prefix, place}) {
  const focus = (pointer) => place.current?.querySelector(`#${CSS.escape(idOf(prefix, pointer))}`)?.focus();
  return html`
    <div class="problem" role="alert">
      <p><strong>${S.faults(faults.length)}</strong></p>
      <ul>${faults.slice(0, SUMMARY_MAX).map(({pointer, detail}) => html`
        <li key=${pointer + detail}>
          <button type="button" class="link" onClick=${() => focus(pointer)}><code><${Text} value=${pointer || "/"} max=${100} /></code></button>
          ${" "}<${Text} value=${detail} max=${200} />
        </li>`)}
      </ul>
    </div>`;
}
