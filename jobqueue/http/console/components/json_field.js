/** The control of any value: JSON as text. What can't be read yet stays as it was typed, and is told. */

import {ExactNumber, depthOf, parse, write} from "../data/exact_json.js";
import {objectOf} from "../data/json_schema.js";
import {Draft} from "../data/schema_check.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useState} from "../ui.js";
import {usePlace} from "./form_place.js";
import {Text} from "./text.js";

const S = STRINGS.form;
const TEXT_MAX = 1_000_000;

/** @param {object} props As of the other controls; `label`: where it has no label beside it. `rows`: its height. */
export function JsonField({value, onChange, pointer, required, label, rows = 3}) {
  const {attributes, faultsBelow} = usePlace(pointer);
  const [text, setText] = useState(() => shown(value));
  useEffect(() => {
    // A change from elsewhere; one that was typed here keeps its own spaces.
    if (shown(value) !== shown(entered(text))) setText(shown(value));
  }, [value]);
  const onInput = (event) => {
    setText(event.target.value);
    onChange(entered(event.target.value));
  };
  const told = faultsBelow(pointer).slice(0, 10);
  return html`
    <textarea class="json" rows=${Math.min(16, Math.max(rows, text.split("\n").length))} ...${attributes} aria-label=${label} value=${text} onInput=${onInput}
      spellcheck=${false} autocomplete="off" required=${required} placeholder=${S.jsonHint}></textarea>
    ${told.map(({pointer: below, detail}) => html`<p class="fault"><code><${Text} value=${below} max=${100} /></code> <${Text} value=${detail} max=${300} /></p>`)}`;
}

function shown(value) {
  if (value === undefined) return "";
  if (value instanceof Draft) return value.text;
  return write(finished(value), 2);
}

/** A value without what is no value yet. */
function finished(value) {
  if (value instanceof Draft) return undefined;
  if (value === null || typeof value !== "object" || value instanceof ExactNumber || !hasDraft(value)) return value;
  if (Array.isArray(value)) return value.filter((each) => !(each instanceof Draft)).map(finished);
  return objectOf(Object.entries(value).map(([name, each]) => [name, finished(each)]));
}

function entered(text) {
  if (text.trim() === "") return undefined;
  if (text.length > TEXT_MAX) return new Draft(text, S.tooLong);
  try {
    return parse(text);
  } catch (fault) {
    return new Draft(text, fault.message);
  }
}

/** Whether something in a value can't be written as JSON yet. */
export function hasDraft(value) {
  if (value instanceof Draft) return true;
  if (value === null || typeof value !== "object" || depthOf(value) === 0) return false;
  return Object.values(value).some(hasDraft);
}
