/** The control of an object: a field for each member of its schema, and those that are added by name. */

import {membersOf, moreMembersOf, withMember} from "../data/json_schema.js";
import {Draft, step} from "../data/schema_check.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {begunValue, idOf, usePlace} from "./form_place.js";

const S = STRINGS.form;
const NAME_MAX = 200;

/** @param {object} props As of the other controls; `Field`: the component of a member. */
export function ObjectField({form: {schema}, value, onChange, pointer, depth, Field}) {
  const given = value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof Draft) ? value : {};
  const members = membersOf(schema);
  const known = new Set(members.map(({name}) => name));
  const more = moreMembersOf(schema);
  const others = Object.keys(given).filter((name) => !known.has(name));
  const change = (name) => (member) => onChange(withMember(given, name, member));
  const field = (name, of, required) => html`
    <${Field} key=${name} label=${name} schema=${of} value=${Object.hasOwn(given, name) ? given[name] : undefined} onChange=${change(name)}
      pointer=${pointer + step(name)} required=${required} depth=${depth + 1} />`;
  return html`
    <div class="members">
      ${!members.length && !more && html`<p class="muted">${S.noMembers}</p>`}
      ${members.map((member) => field(member.name, member.schema, member.required))}
      ${others.map((name) => html`
        <div class="other-member" key=${name}>
          ${field(name, more ?? {}, true)}
          <button type="button" class="button small" aria-label=${S.removeOf(name)} onClick=${() => change(name)(undefined)}>${S.remove}</button>
        </div>`)}
      ${more && html`<${NewMember} ...${{pointer, taken: [...known, ...others], onAdd: (name, root) => change(name)(begunValue(more, root))}} />`}
    </div>`;
}

/** Adds a member by its name. */
function NewMember({pointer, taken, onAdd}) {
  const {root, prefix} = usePlace(pointer);
  const [name, setName] = useState("");
  const id = `${idOf(prefix, pointer)}-new`;
  const fault = taken.includes(name) ? S.taken : null;
  const add = () => {
    if (name === "" || fault) return;
    onAdd(name, root);
    setName("");
  };
  const onKeyDown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    add();
  };
  return html`
    <div class="row new-member">
      <label for=${id} class="hint">${S.moreMember}</label>
      <input id=${id} type="text" maxlength=${NAME_MAX} value=${name} onInput=${(event) => setName(event.target.value)} onKeyDown=${onKeyDown}
        autocomplete="off" spellcheck=${false} aria-invalid=${fault ? "true" : undefined} />
      <button type="button" class="button small" disabled=${name === "" || Boolean(fault)} onClick=${add}>${S.add}</button>
      ${fault && html`<span class="fault" role="alert">${fault}</span>`}
    </div>`;
}
