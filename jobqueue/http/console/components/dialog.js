/** A dialog: modal, closed by Escape, by its button or by a click beside it; the focus returns to where it was. */

import {STRINGS} from "../strings.js";
import {html, useLayoutEffect, useRef} from "../ui.js";

/** @param {object} props `title`; `onClose()`; the children are its body. Buttons belong into a `div.dialog-foot`. */
export function Dialog({title, onClose, children}) {
  const place = useRef(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    const dialog = place.current;
    dialog.showModal();
    return () => {
      dialog.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`
    <dialog class="dialog" ref=${place} aria-label=${title} onCancel=${cancel} onClick=${(event) => event.target === place.current && onClose()}>
      <div class="dialog-head">
        <h2>${title}</h2>
        <button class="button small bare" aria-label=${STRINGS.dialog.close} onClick=${onClose}>✕</button>
      </div>
      <div class="dialog-body">${children}</div>
    </dialog>`;
}
