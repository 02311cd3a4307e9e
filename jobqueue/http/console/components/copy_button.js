/** A button that copies a text; where the browser has no clipboard for the page (plain HTTP), by a selection. */

import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

const SAID_MS = 2000;

/** @param {object} props `text`: a string, or a function that returns one; `label`: what is copied. */
export function CopyButton({text, label = STRINGS.copy.text}) {
  const [said, say] = useState(null);
  const onClick = async (event) => {
    event.stopPropagation();
    const copied = await copy(typeof text === "function" ? text() : text);
    say(copied ? STRINGS.copy.copied : STRINGS.copy.failed);
    setTimeout(() => say(null), SAID_MS);
  };
  return html`<button class="button small" type="button" onClick=${onClick}><span aria-live="polite">${said ?? label}</span></button>`;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text);
  }
}

function copySelected(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  const place = document.querySelector("dialog[open]") ?? document.body;
  place.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  return copied;
}
