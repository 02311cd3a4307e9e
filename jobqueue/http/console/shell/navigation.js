/** Navigation: the pages, with their keys, beside each page or behind a button on narrow screens. */

import {exact} from "../components/instant.js";
import {paused} from "../data/visibility.js";
import {useStore} from "../data/store.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useState} from "../ui.js";
import {go, href, useRoute} from "./router.js";
import {useKeys} from "./keys.js";
import {useSession} from "./session.js";

const S = STRINGS.shell;

/** The pages in the navigation, the key after `g`, and the pages below each. */
export const ENTRIES = [
  {page: "overview", key: "o"},
  {page: "jobs", key: "j", below: ["job"]},
  {page: "flows", key: "n", below: ["flow"]},
  {page: "queues", key: "q", below: ["queue"]},
  {page: "types", key: "t", below: ["type"]},
  {page: "schedules", key: "d", below: ["schedule"]},
  {page: "topics", key: "p"},
  {page: "failures", key: "f", below: ["failure"]},
  {page: "callers", key: "c", below: ["caller"]},
  {page: "live", key: "l"},
  {page: "server", key: "s"},
  {page: "what_if", key: "w"},
];

const ICON = new URL("../icon.svg", import.meta.url).href;

export function Navigation({onHelp}) {
  const {page} = useRoute();
  const isPaused = useStore(paused);
  const isExact = useStore(exact);
  const {name, keys, signedIn, version, signOut} = useSession();
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [page]);
  const goTo = Object.fromEntries(
    ENTRIES.map(({page: to, key}) => [`g ${key}`, {label: STRINGS.pages[to], run: () => go(to)}]),
  );
  useKeys(goTo, {label: S.goTo});
  return html`
    <header class=${open ? "side open" : "side"}>
      <div class="side-head">
        <a class="brand" href=${href("overview")}><img src=${ICON} alt="" />jobqueue</a>
        <button class="button menu-button" aria-expanded=${open} aria-controls="navigation" onClick=${() => setOpen(!open)}>
          ${S.menu}
        </button>
      </div>
      <nav class="nav" id="navigation" aria-label=${S.pages}>
        <ul>
          ${ENTRIES.map(({page: to, key, below = []}) => html`
            <li key=${to}>
              <a href=${href(to)} aria-current=${to === page || below.includes(page) ? "page" : null}>
                ${STRINGS.pages[to]}<span class="key" aria-hidden="true">g ${key}</span>
              </a>
            </li>`)}
        </ul>
      </nav>
      <div class="side-foot">
        <div class="row">
          <button class="button small" aria-pressed=${isPaused} onClick=${() => paused.set(!isPaused)}>${S.pause}</button>
          <button class="button small" aria-pressed=${isExact} onClick=${() => exact.set(!isExact)}>${S.exact}</button>
          <button class="button small" onClick=${onHelp}>${S.keys}</button>
        </div>
        ${keys && signedIn && html`
          <div>
            ${S.signedInAs} <strong>${name}</strong> <button class="button small bare" onClick=${signOut}>${S.signOut}</button>
          </div>`}
        ${version && html`<div>jobqueue ${version}</div>`}
      </div>
    </header>`;
}
