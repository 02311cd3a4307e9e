/** Jobs: the list, its filter, a selection, and actions on it. */

import {ActionDialog} from "../components/action_dialog.js";
import {Awaited} from "../components/awaited.js";
import {FilterBar} from "../components/filter_bar.js";
import {COLUMNS, ColumnChoice, useColumns} from "../components/job_columns.js";
import {PageHead} from "../components/page_head.js";
import {PageSteps} from "../components/page_steps.js";
import {Problem} from "../components/problem.js";
import {SelectionBar} from "../components/selection_bar.js";
import {StateShape} from "../components/state.js";
import {Table} from "../components/table.js";
import {bulkOf, parseFilter, queryOf, withTerm} from "../data/filter.js";
import {useJobCount, useJobPage} from "../data/job_page.js";
import {usePolled} from "../data/polling.js";
import {STATES} from "../data/states.js";
import {useKeys} from "../shell/keys.js";
import {go} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useMemo, useRef, useState} from "../ui.js";

const T = STRINGS.jobs;
const NAMES_EVERY_MS = 30_000;
const RELATIVE_EVERY_MS = 30_000;
const SELECTED_MAX = 5000;
const NOTHING = new Set();
const ESTIMATES = ["position", "eta"];

export const title = STRINGS.pages.jobs;

export default function Jobs({query}) {
  const text = query.q ?? "";
  const filter = useMemo(() => parseFilter(text), [text]);
  const conditions = useConditions(filter);
  const [cursors, setCursors] = useState([]);
  const [selected, setSelected] = useState(NOTHING);
  const [all, setAll] = useState(false);
  const [asked, ask] = useState(null);
  const [keys, chooseColumns] = useColumns();
  const page = useJobPage(conditions, cursors.at(-1) ?? null, ESTIMATES.some((key) => keys.includes(key)));
  const counted = useJobCount(conditions);
  const known = useNames();
  const table = useRef(null);
  const {mayChange} = useSession();
  useEffect(() => {
    setCursors([]);
    setSelected(NOTHING);
    setAll(false);
  }, [text]);
  const apply = (next) => go("jobs", {}, {q: next});
  const jobs = page.jobs ?? [];
  const select = (next) => {
    setAll(false);
    setSelected(next.size > SELECTED_MAX ? selected : next);
  };
  const act = (action) => {
    if (!mayChange("operate") || asked) return;
    if (all) {
      const {body, notes, fault} = bulkOf(filter, Date.now());
      if (fault === null) ask({action, filter: body, notes});
      return;
    }
    const ids = selected.size ? [...selected] : focusedId(table.current, jobs);
    if (ids.length) ask({action, ids});
  };
  const close = (result) => {
    ask(null);
    if (!result) return;
    setSelected(NOTHING);
    setAll(false);
    counted.count();
  };
  useKeys(
    {
      r: {label: STRINGS.actions.retry.many, run: () => act("retry")},
      c: {label: STRINGS.actions.cancel.many, run: () => act("cancel")},
      Delete: {label: STRINGS.actions.delete.many, run: () => act("delete")},
    },
    {label: T.keys},
  );
  return html`
    <${PageHead} title=${title}>
      ${!filter.faults.length && html`<${Total} counted=${counted} />`}
      <${ColumnChoice} keys=${keys} onChoose=${chooseColumns} />
    <//>
    <${FilterBar} value=${text} onApply=${apply} known=${known} />
    <${StateFilter} filter=${filter} onApply=${apply} />
    ${filter.faults.length > 0 && html`<p class="muted" role="status">${T.faulty}</p>`}
    <${Awaited} document=${page.jobs ?? filter.faults.length} problem=${page.problem} />
    <${SelectionBar} count=${selected.size} all=${all} counted=${counted} filter=${filter} mayChange=${mayChange("operate")}
      onAll=${() => setAll(true)} onClear=${() => select(NOTHING)} onAction=${act} />
    <${SearchLine} page=${page} />
    <div ref=${table} class="stack jobs-list">
      ${page.jobs && !filter.faults.length && html`
        <${Table} label=${T.list} columns=${COLUMNS.filter(({key}) => keys.includes(key))} rows=${jobs} rowKey=${(job) => job.id}
          onOpen=${(job) => go("job", {id: job.id})} selected=${all ? new Set(jobs.map(({id}) => id)) : selected} onSelect=${select}
          empty=${html`<${Nothing} text=${text} searching=${page.found.state === "runs"} />`} />`}
    </div>
    <${PageSteps} number=${cursors.length + 1} next=${page.next} onNext=${() => setCursors([...cursors, page.next])}
      onPrevious=${() => setCursors(cursors.slice(0, -1))} onFirst=${() => setCursors([])} />
    ${asked && html`<${ActionDialog} ...${asked} onDone=${close} onClose=${() => close(null)} />`}`;
}

/** Return the conditions of a filter; those that are relative to now are made anew from time to time. */
function useConditions(filter) {
  const relative = filter.terms.some(({name}) => ["older", "newer", "since", "until"].includes(name));
  const [, again] = useState(0);
  useEffect(() => {
    if (!relative) return undefined;
    const timer = setInterval(() => document.visibilityState !== "hidden" && again((count) => count + 1), RELATIVE_EVERY_MS);
    return () => clearInterval(timer);
  }, [filter, relative]);
  const now = Math.floor(Date.now() / RELATIVE_EVERY_MS) * RELATIVE_EVERY_MS;
  return useMemo(() => (filter.faults.length ? null : queryOf(filter, now)), [filter, relative && now]);
}

/** Return the names that complete a filter: types, queues, and the arguments of a type. */
function useNames() {
  const types = usePolled("v1/types", {everyMs: NAMES_EVERY_MS}).document?.types ?? [];
  const queues = usePolled("v1/queues", {everyMs: NAMES_EVERY_MS}).document?.queues ?? [];
  return {
    types: types.map(({type}) => type),
    queues: queues.map(({name}) => name),
    argsOf: (name) => Object.keys(types.find(({type}) => type === name)?.arguments?.properties ?? {}),
  };
}

/** Return the id of the row that has the focus, in a list; an empty one without it. */
function focusedId(place, jobs) {
  const row = document.activeElement?.closest("tbody tr");
  if (!row || !place?.contains(row)) return [];
  return [jobs[[...row.parentElement.children].indexOf(row)]?.id].filter(Boolean);
}

function Total({counted}) {
  if (counted.problem) return html`<span class="muted">${counted.problem.title}</span>`;
  return html`<span class="muted" role="status">${counted.total === null ? T.counting : T.total(counted.total, counted.complete)}</span>
    <button type="button" class="button small bare" onClick=${counted.count} aria-label=${T.countAgain} title=${T.countAgain}>↻</button>`;
}

function StateFilter({filter, onApply}) {
  const chosen = filter.terms.find(({name}) => name === "state")?.value ?? null;
  return html`<div class="row states" role="group" aria-label=${T.states}>
    ${STATES.map((state) => html`
      <button key=${state} type="button" class="button small" aria-pressed=${state === chosen} disabled=${filter.faults.length > 0}
        onClick=${() => onApply(withTerm(filter, "state", state === chosen ? null : state))}>
        <span class=${`shape ${state}`}><${StateShape} state=${state} /></span>${STRINGS.states[state]}</button>`)}
  </div>`;
}

/** What the search does that the server ended early. */
function SearchLine({page}) {
  const {found, search, unsearched} = page;
  const count = page.jobs?.length ?? 0;
  return html`<div class="search-line" role="status">
    ${search && found.state === "runs" && html`<p class="row"><span>${T.searching(found.rounds + 1, count)}</span>
      <button type="button" class="button small" onClick=${() => search.stop()}>${T.stop}</button></p>`}
    ${search && ["stopped", "failed"].includes(found.state) && html`<p class="row"><span>${T.searchStopped(found.rounds + 1, count)}</span>
      <button type="button" class="button small" onClick=${() => search.goOn()}>${T.goOn}</button></p>`}
    ${search && html`<${Problem} of=${found.problem} />`}
    ${unsearched > 0 && html`<p class="muted">${T.unsearched(unsearched)}</p>`}
  </div>`;
}

function Nothing({text, searching}) {
  if (searching) return "…";
  if (!text) return T.noneAtAll;
  return html`${T.none} <a href="#/jobs">${T.clearFilter}</a>`;
}
