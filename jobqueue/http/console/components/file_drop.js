/** The files of a submission: dropped or chosen, each with the name of its part. */

import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {bytesText} from "./number.js";
import {Text, visibleText} from "./text.js";

const S = STRINGS.type;
const FILES_MAX = 20;
const PART_MAX = 100;

/** @param {object} props `files`: `[{part, file}]`; `onChange(files)`. */
export function FileDrop({files, onChange}) {
  const [over, setOver] = useState(false);
  const [cut, setCut] = useState(false);
  const add = (list) => {
    const added = [...list].map((file) => ({part: "file", file}));
    setCut(files.length + added.length > FILES_MAX);
    onChange([...files, ...added].slice(0, FILES_MAX));
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    add(event.dataTransfer.files);
  };
  const drag = (event) => {
    event.preventDefault();
    setOver(true);
  };
  const choose = (event) => {
    add(event.target.files);
    event.target.value = ""; // the same file may be chosen again
  };
  return html`
    <div class=${`file-drop ${over ? "over" : ""}`} onDragOver=${drag} onDragLeave=${() => setOver(false)} onDrop=${drop}>
      <div class="row">
        <strong>${S.files}</strong>
        <label class="button small" for="chosen-files">${S.choose}</label>
        <input id="chosen-files" class="visually-hidden" type="file" multiple onChange=${choose} />
        <span class="hint muted">${S.filesHint}</span>
      </div>
      ${cut && html`<p class="fault" role="alert">${S.filesTooMany(FILES_MAX)}</p>`}
      <ul>
        ${files.map(({part, file}, n) => html`
          <li class="row" key=${n}>
            <label class="hint" for=${`part-${n}`}>${S.part}</label>
            <input id=${`part-${n}`} class="part" type="text" maxlength=${PART_MAX} value=${part} autocomplete="off" spellcheck=${false}
              onInput=${(event) => onChange(files.map((each, at) => (at === n ? {...each, part: event.target.value} : each)))} />
            <span><${Text} value=${file.name} max=${80} /></span> <span class="muted">${bytesText(file.size)}</span>
            <button type="button" class="button small" aria-label=${S.removeFile(visibleText(file.name, 100))}
              onClick=${() => onChange(files.filter((_, at) => at !== n))}>✕</button>
          </li>`)}
      </ul>
    </div>`;
}
