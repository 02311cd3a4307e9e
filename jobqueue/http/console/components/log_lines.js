/** The latest lines of the server's log, newest first, from a level on. */

import {usePolled} from "../data/polling.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {Badge} from "./badge.js";
import {Empty} from "./empty.js";
import {Instant} from "./instant.js";
import {countText} from "./number.js";
import {Problem} from "./problem.js";
import {Text} from "./text.js";

const S = STRINGS.server.log;
const EVERY_MS = 2000;
const LIMITS = [50, 200, 500];
const LEVELS = ["debug", "info", "warning", "error"];
const KINDS = {debug: "calm", info: "accent", warning: "warn", error: "bad", critical: "bad"};
const HEAD = ["time", "level", "event", "logger"];
const EVENT = /^[\w.]{1,100}$/;

/** @param {object} props `query`: of the page, with `level`, `event` and `limit`; `onChange(changed)`: changes it. */
export function LogLines({query, onChange}) {
  const level = LEVELS.includes(query.level) ? query.level : "debug";
  const limit = LIMITS.includes(Number(query.limit)) ? Number(query.limit) : LIMITS[0];
  const event = EVENT.test(query.event ?? "") ? query.event : null;
  const {document, problem} = usePolled("v1/server/log", {query: {level, limit, event}, everyMs: EVERY_MS});
  const lines = document?.lines ?? [];
  return html`
    <div class="stack">
      <div class="row">
        <label class="row">${S.level}
          <select value=${level} onChange=${(changed) => onChange({level: changed.target.value})}>
            ${LEVELS.map((each) => html`<option key=${each} value=${each} selected=${each === level}>${each}</option>`)}
          </select>
        </label>
        <label class="row">${S.event}
          <input type="search" data-search value=${query.event ?? ""} placeholder=${S.example} maxlength="100" onInput=${(typed) => onChange({event: typed.target.value || null})} />
        </label>
        <label class="row">${S.limit}
          <select value=${limit} onChange=${(changed) => onChange({limit: changed.target.value})}>
            ${LIMITS.map((each) => html`<option key=${each} value=${each} selected=${each === limit}>${each}</option>`)}
          </select>
        </label>
        ${document?.dropped > 0 && html`<${Badge} kind="warn">${S.dropped(countText(document.dropped))}<//>`}
      </div>
      <${Problem} of=${problem} />
      ${document && lines.length === 0 && html`<${Empty}>${S.empty}<//>`}
      <ol class="log-lines" aria-label=${S.title}>${lines.map((line, index) => html`<${Line} key=${`${line.time} ${lines.length - index}`} line=${line} />`)}</ol>
    </div>`;
}

function Line({line}) {
  const [open, setOpen] = useState(false);
  const fields = Object.entries(line).filter(([name]) => !HEAD.includes(name));
  const long = fields.filter(([, value]) => typeof value === "string" && value.includes("\n"));
  const short = fields.filter((field) => !long.includes(field));
  return html`
    <li class="log-line">
      <${Instant} at=${line.time} />
      <${Badge} kind=${KINDS[line.level] ?? "calm"}><${Text} value=${line.level ?? "?"} max=${20} /><//>
      <span class="log-text">
        <strong><${Text} value=${line.event ?? S.unreadable} max=${100} /></strong>
        ${line.event === "log" && html` <span class="muted"><${Text} value=${line.logger} max=${60} /></span>`}
        ${short.map(([name, value]) => html` <span key=${name}><span class="muted"><${Text} value=${name} max=${60} />=</span><${Text} value=${textOf(value)} max=${200} /></span>`)}
        ${long.length > 0 && html` <button class="button small bare" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? S.less : S.whole(long.map(([name]) => name).join(", "))}</button>`}
        ${open && long.map(([name, value]) => html`<pre key=${name}><${Text} value=${value} max=${4000} pre /></pre>`)}
      </span>
    </li>`;
}

const textOf = (value) => (typeof value === "string" ? value : JSON.stringify(value));
