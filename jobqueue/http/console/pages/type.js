/** The page Type: one type, and the form that submits a job of it (`#/types/NAME/try`). */

import {ConfirmDialog} from "../components/action_dialog.js";
import {Awaited} from "../components/awaited.js";
import {DurationsPanel} from "../components/durations_panel.js";
import {countText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {Problem} from "../components/problem.js";
import {Text, visibleText} from "../components/text.js";
import {TryIt} from "../components/try_it.js";
import {HandlerOptions, Quarantine, Signature, TypeCounts} from "../components/type_panels.js";
import {usePolled} from "../data/polling.js";
import {useKeys} from "../shell/keys.js";
import {go, href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";

export const title = STRINGS.pages.type;

const S = STRINGS.type;
const TYPE_MS = 2000;
const HISTORY_MS = 5000;

export default function Page({params: {name, tab}, query}) {
  const {document: type, problem} = usePolled(`v1/types/${encodeURIComponent(name)}`, {everyMs: TYPE_MS});
  const {may} = useSession();
  const trying = tab === "try";
  const mayTry = may("submit") && type?.built_in !== true;
  useKeys(trying || !mayTry ? {} : {t: () => go("type", {name, tab: "try"})}, {label: S.tryIt});
  if (!type) return html`<${PageHead} title=${visibleText(name, 80)} /><${Awaited} problem=${problem} />`;
  return html`
    <${PageHead} title=${visibleText(type.type, 80)}>
      ${trying
        ? html`<a class="button" href=${href("type", {name})}>${S.overview}</a>`
        : type.built_in !== true && html`<a class="button primary" href=${href("type", {name, tab: "try"})}>${S.tryIt}</a>`}
      <a class="button" href=${href("jobs", {}, {q: `type:${quoted(name)}`})}>${S.jobs}</a>
      <a class="button" href=${href("failures", {}, {type: name})}>${S.failed}</a>
    <//>
    <${Problem} of=${problem} />
    <p><${Text} value=${type.doc ?? S.noDoc} max=${400} /></p>
    ${type.quarantined && html`<${Quarantine} type=${type}><${Release} type=${type} /><//>`}
    ${trying ? html`<${TryIt} key=${query.from ?? ""} type=${type} from=${query.from} />` : html`<${Panels} type=${type} />`}`;
}

/** A value for the filter of the page Jobs. */
const quoted = (value) => (/^[\w.-]+$/.test(value) ? value : JSON.stringify(value));

function Panels({type}) {
  const stats = usePolled("v1/stats", {query: {by: "type", name: type.type}, everyMs: HISTORY_MS});
  return html`
    <${Signature} type=${type} />
    <div class="columns"><${TypeCounts} type=${type} /><${HandlerOptions} type=${type} /></div>
    <${DurationsPanel} stats=${stats} name=${type.type} />`;
}

function Release({type}) {
  const [asked, ask] = useState(false);
  const {mayChange} = useSession();
  if (!mayChange("operate")) return null;
  const close = () => ask(false);
  return html`
    <button type="button" class="button" onClick=${() => ask(true)}>${S.release}</button>
    ${asked && html`
      <${ConfirmDialog} title=${S.releaseTitle(visibleText(type.type, 60))} sentence=${S.releaseMeaning(type.queued ? countText(type.queued) : 0)} verb=${S.releaseVerb}
        request=${["POST", `v1/types/${encodeURIComponent(type.type)}:release`]} doneSentence=${() => S.releaseDone(type.type)} onDone=${close} onClose=${close} />`}`;
}
