/** What a page shows of a document beside its content: a problem, or, after a moment without an answer, that it is read. */

import {STRINGS} from "../strings.js";
import {html, useEffect, useState} from "../ui.js";
import {Problem} from "./problem.js";

/** What comes sooner is not announced, so that pages do not flicker. */
const AFTER_MS = 700;

/** @param {object} props `document`, `problem`: as `usePolled` returned them. */
export function Awaited({document, problem}) {
  const [late, setLate] = useState(false);
  const waits = !document && !problem;
  useEffect(() => {
    const timer = waits ? setTimeout(() => setLate(true), AFTER_MS) : null;
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [waits]);
  return html`<${Problem} of=${problem} />${waits && late && html`<p class="muted" role="status">${STRINGS.shell.reading}</p>`}`;
}
