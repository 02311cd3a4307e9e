/** The control of an array: a field for each item, which can be added, moved and removed. */

import {Draft, step} from "../data/schema_check.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {begunValue, usePlace} from "./form_place.js";
import {JsonField} from "./json_field.js";

const S = STRINGS.form;

/** A longer array is entered as JSON. */
const ITEMS_MAX = 100;

/** @param {object} props As of the other controls; `Field`: the component of an item. */
export function ArrayField({form: {schema}, value, onChange, pointer, depth, required, Field}) {
  const {root} = usePlace(pointer);
  const items = Array.isArray(value) ? value : [];
  if (items.length > ITEMS_MAX) return html`<${JsonField} ...${{value, onChange, pointer, required}} />`;
  const tuple = Array.isArray(schema.prefixItems) ? schema.prefixItems : [];
  const schemaOf = (n) => tuple[n] ?? (schema.items && typeof schema.items === "object" ? schema.items : {});
  const full = items.length >= (schema.maxItems ?? Infinity) || (tuple.length > 0 && items.length >= tuple.length && !schema.items);
  const put = (n, item) => onChange(items.map((each, at) => (at === n ? item : each)));
  const add = () => onChange([...items, begunValue(schemaOf(items.length), root)]);
  const remove = (n) => onChange(items.filter((_, at) => at !== n));
  const raise = (n) => onChange(items.map((each, at) => (at === n - 1 ? items[n] : at === n ? items[n - 1] : each)));
  return html`
    <ol class="items">
      ${items.map((item, n) => html`
        <li key=${n} class="item">
          <span class="item-number" aria-hidden="true">${n}</span>
          <${Field} label=${S.item(n)} schema=${schemaOf(n)} value=${item} onChange=${(each) => put(n, each === undefined ? new Draft("", S.empty) : each)}
            pointer=${pointer + step(n)} required depth=${depth + 1} />
          <span class="row">
            ${n > 0 && !tuple.length && html`<button type="button" class="button small" aria-label=${S.raiseOf(n)} onClick=${() => raise(n)}>↑</button>`}
            <button type="button" class="button small" aria-label=${S.removeOf(S.item(n))} onClick=${() => remove(n)}>${S.remove}</button>
          </span>
        </li>`)}
    </ol>
    ${!full && html`<button type="button" class="button small" onClick=${add}>${S.addItem}</button>`}`;
}
