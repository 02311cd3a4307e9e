/**
 * The console: draws the shell, and in it the page of the route.
 *
 * Rules:
 *
 * 1. A page is a module of `pages/`, loaded when it is first shown: `title`, and the component as its default.
 * 2. After a change of the page the focus is on its heading, so that a screen reader says where it is. A change of the
 *    query alone moves no focus.
 * 3. A page that throws shows its fault in its own place; navigation goes on.
 */

import {exact} from "./components/instant.js";
import {Problem} from "./components/problem.js";
import {Toasts} from "./components/toast.js";
import {paused} from "./data/visibility.js";
import {Banners} from "./shell/banners.js";
import {Help} from "./shell/help.js";
import {useKeys} from "./shell/keys.js";
import {Navigation} from "./shell/navigation.js";
import {go, useRoute} from "./shell/router.js";
import {loadSession, useSession} from "./shell/session.js";
import {STRINGS} from "./strings.js";
import {html, render, useEffect, useErrorBoundary, useState} from "./ui.js";

const S = STRINGS.shell;

const PAGES = {
  overview: () => import("./pages/overview.js"),
  jobs: () => import("./pages/jobs.js"),
  job: () => import("./pages/job.js"),
  flow: () => import("./pages/flow.js"),
  flows: () => import("./pages/flows.js"),
  queues: () => import("./pages/queues.js"),
  queue: () => import("./pages/queue.js"),
  types: () => import("./pages/types.js"),
  type: () => import("./pages/type.js"),
  schedules: () => import("./pages/schedules.js"),
  schedule: () => import("./pages/schedule.js"),
  topics: () => import("./pages/topics.js"),
  failures: () => import("./pages/failures.js"),
  failure: () => import("./pages/failures.js"),
  callers: () => import("./pages/callers.js"),
  caller: () => import("./pages/callers.js"),
  live: () => import("./pages/live.js"),
  server: () => import("./pages/server.js"),
  what_if: () => import("./pages/what_if.js"),
  sign_in: () => import("./pages/sign_in.js"),
};

function Console() {
  const [help, setHelp] = useState(false);
  const route = useRoute();
  const {known, signedIn} = useSession();
  useKeys(
    {
      "/": {label: S.search, run: search},
      ".": {label: S.pauseKey, run: () => paused.set(!paused.get())},
      u: {label: S.exactKey, run: () => exact.set(!exact.get())},
      "?": {label: S.keys, run: () => setHelp(true)},
    },
    {label: S.everywhere},
  );
  const shown = known && !signedIn ? {page: "sign_in", params: {}, query: {}} : route;
  return html`
    <a class="skip" href="#main" onClick=${skip}>${S.skip}</a>
    <div class="shell">
      <${Navigation} onHelp=${() => setHelp(true)} />
      <main class="main" id="main" tabindex="-1">
        <${Banners} />
        ${known && html`<${Page} key=${`${shown.page} ${Object.values(shown.params).join(" ")}`} ...${shown} />`}
      </main>
    </div>
    <${Toasts} />
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}`;
}

let first = true;

function Page({page, params, query}) {
  const [loaded, setLoaded] = useState({module: null, problem: null});
  const [fault, mend] = useErrorBoundary();
  useEffect(() => {
    let shown = true;
    const load = PAGES[page];
    if (!load) setLoaded({module: null, problem: {title: S.noPage, detail: S.noPageDetail}});
    else {
      load().then(
        (module) => shown && setLoaded({module, problem: null}),
        (error) => shown && setLoaded({module: null, problem: {title: S.notLoaded, detail: error.message}}),
      );
    }
    return () => {
      shown = false;
    };
  }, [page]);
  const title = loaded.module?.title ?? STRINGS.pages[page] ?? S.noPage;
  useEffect(() => {
    document.title = `${title} · jobqueue`;
  }, [title]);
  useEffect(() => {
    if (!loaded.module) return;
    if (!first) document.querySelector("#main h1")?.focus();
    first = false;
  }, [loaded.module]);
  if (fault || loaded.problem) {
    const told = fault ? {title: S.fault, detail: String(fault?.message ?? fault)} : loaded.problem;
    return html`
      <h1 tabindex="-1">${title}</h1>
      <${Problem} of=${told} />
      <p class="row">
        <button class="button" onClick=${() => (fault ? mend() : location.reload())}>${S.again}</button>
      </p>`;
  }
  if (!loaded.module) return null;
  return html`<${loaded.module.default} params=${params} query=${query} />`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function search() {
  const field = document.querySelector("#main [data-search]");
  if (field) field.focus();
  else go("jobs");
}

const place = document.getElementById("console");
place.replaceChildren();
render(html`<${Console} />`, place);
loadSession();
