/** The place of a field in a form: what all fields share, and the ids that tie a field to its label and faults. */

import {blankOf, freshOf} from "../data/json_schema.js";
import {Draft} from "../data/schema_check.js";
import {STRINGS} from "../strings.js";
import {createContext, useContext} from "../ui.js";

/**
 * What the form gives to its fields: `root`, the schema with the definitions; `faultsAt(pointer)`, the details to be shown
 * there; `faultsBelow(pointer)`, those further down; `touch(pointer)`, after which a field shows its own faults.
 */
export const FormContext = createContext({
  root: {},
  prefix: "form",
  faultsAt: () => [],
  faultsBelow: () => [],
  touch: () => undefined,
});

/** The id of the control of a pointer. */
export const idOf = (prefix, pointer) => `${prefix}-field-${encodeURIComponent(pointer).replaceAll("%", "_")}`;

/** The value of a member or an item that is added: the least of its schema, or nothing, which is still to be entered. */
export function begunValue(schema, root) {
  const blank = blankOf(schema, root) ?? freshOf(schema, root);
  return blank === undefined ? new Draft("", STRINGS.form.empty) : blank;
}

/**
 * Return what the control of a field needs: its id, and the attributes that tell of its faults.
 *
 * @param {string} pointer
 */
export function usePlace(pointer) {
  const form = useContext(FormContext);
  const id = idOf(form.prefix, pointer);
  const faults = form.faultsAt(pointer);
  const attributes = {
    id,
    "aria-invalid": faults.length > 0 ? "true" : undefined,
    "aria-describedby": `${id}-hint ${id}-fault`,
    onBlur: () => form.touch(pointer),
  };
  return {...form, id, faults, attributes};
}
