/** Buttons that copy a submission for other programs: curl, Python, JavaScript, the command line. */

import {MOUNT} from "../data/mount.js";
import {snippetsOf} from "../data/snippets.js";
import {snippetOf} from "../data/submission.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {CopyButton} from "./copy_button.js";

const LANGUAGES = ["curl", "Python", "JavaScript", "CLI"];

/** @param {object} props `type`; `value`: arguments, options and files of the form, without drafts. */
export function CopyAs({type, value}) {
  const {keys} = useSession();
  const text = (language) => () => snippetsOf(snippetOf(type, value), MOUNT.href, keys)[language];
  return html`
    <div class="row" role="group" aria-label=${STRINGS.type.copyAs}>
      <span class="muted">${STRINGS.type.copyAs}</span>
      ${LANGUAGES.map((language) => html`<${CopyButton} key=${language} text=${text(language)} label=${language} />`)}
    </div>`;
}
