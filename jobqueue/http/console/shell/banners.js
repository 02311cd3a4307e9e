/** Banners: what the whole page must be read with: no server, a server that drains, another version, a pause. */

import {probe, connection} from "../data/connection.js";
import {useNow} from "../data/clock.js";
import {usePolled} from "../data/polling.js";
import {paused} from "../data/visibility.js";
import {useStore} from "../data/store.js";
import {Instant} from "../components/instant.js";
import {durationText} from "../components/duration.js";
import {STRINGS} from "../strings.js";
import {html, useEffect} from "../ui.js";
import {useReadiness} from "./readiness.js";
import {SESSION, loadSession, useSession} from "./session.js";

const S = STRINGS.shell;
const SESSION_MS = 60_000;

export function Banners() {
  const {goneSince, nextAt} = useStore(connection);
  const isPaused = useStore(paused);
  const {version, ownVersion, readonly, known} = useFreshSession();
  const {draining, recovering, degraded} = useReadiness();
  const other = ownVersion !== null && version !== null && version !== ownVersion;
  return html`
    <div class="banners">
    <div role="alert">
      ${goneSince !== null && html`<${Gone} since=${goneSince} nextAt=${nextAt} />`}
      ${goneSince === null && recovering !== null && html`<p class="banner warn"><strong>${S.recovering}</strong> ${recovering}. ${S.recoveringDetail}</p>`}
      ${goneSince === null && draining && html`<p class="banner warn"><strong>${S.draining}</strong> ${S.drainingDetail}</p>`}
    </div>
    <div role="status" class="stack">
      ${other && html`
        <p class="banner calm">
          <strong>${S.otherVersion(version, ownVersion)}</strong>
          <button class="button small" onClick=${() => location.reload()}>${S.reload}</button>
        </p>`}
      ${degraded.map((sentence) => html`<p class="banner warn"><strong>${S.degraded}</strong> ${sentence}</p>`)}
      ${isPaused && html`
        <p class="banner calm">
          <strong>${S.paused}</strong> ${S.pausedDetail}
          <button class="button small" onClick=${() => paused.set(false)}>${S.resume}</button>
        </p>`}
      ${known && readonly && html`<p class="banner calm"><strong>${S.readonly}</strong> ${S.readonlyDetail}</p>`}
    </div>
    </div>`;
}

/** The session, read again now and then: a server that was replaced between two polls was never missed. */
function useFreshSession() {
  const session = useSession();
  const {document} = usePolled(SESSION, {everyMs: SESSION_MS});
  const version = document?.version ?? null;
  useEffect(() => {
    if (version !== null && session.version !== null && version !== session.version) loadSession();
  }, [version, session.version]);
  return session;
}

function Gone({since, nextAt}) {
  const now = useNow();
  const waitS = nextAt === null ? null : Math.max(0, Math.ceil((nextAt - now) / 1000));
  return html`
    <div class="banner bad">
      <p><strong>${S.gone}</strong> ${S.goneSince} <${Instant} at=${since} /> (${durationText((now - since) / 1000)}). ${S.goneDetail}</p>
      <span aria-hidden="true">${waitS === null ? S.asking : S.nextTry(waitS)}</span>
      <button class="button small" onClick=${probe}>${S.tryNow}</button>
    </div>`;
}
