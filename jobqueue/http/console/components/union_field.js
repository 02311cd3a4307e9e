/** The control of a value that may have one of several forms: a choice of the form, and its field. */

import {summaryOf, titleOf} from "../data/json_schema.js";
import {faultsOf} from "../data/schema_check.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {begunValue, usePlace} from "./form_place.js";

const S = STRINGS.form;

/** @param {object} props As of the other controls; `Field`: the component of the chosen form. */
export function UnionField({form: {parts}, value, onChange, pointer, depth, Field}) {
  const {root, id} = usePlace(pointer);
  const [chosen, choose] = useState(() => Math.max(0, partOf(value, parts, root)));
  const at = Math.min(chosen, parts.length - 1);
  const onChoose = (event) => {
    const next = Number(event.target.value);
    choose(next);
    onChange(begunValue(parts[next], root));
  };
  return html`
    <select id=${`${id}-form`} aria-label=${S.formOf} value=${String(at)} onChange=${onChoose}>
      ${parts.map((part, n) => html`<option key=${n} value=${String(n)}>${(titleOf(part, root) ?? summaryOf(part, root)).slice(0, 100)}</option>`)}
    </select>
    <${Field} key=${at} label="" bare schema=${parts[at]} value=${value} onChange=${onChange} pointer=${pointer} required depth=${depth + 1} />`;
}

/** The first form that a value has; -1: none. */
function partOf(value, parts, root) {
  return value === undefined ? -1 : parts.findIndex((part) => !faultsOf(value, part, root).length);
}
