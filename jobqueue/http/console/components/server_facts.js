/** The server in a line of facts: lag of its loop, memory, connections. All but the lag need the scope `admin`. */

import {usePolled} from "../data/polling.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {durationText} from "./duration.js";
import {bytesText, countText} from "./number.js";

const S = STRINGS.serverFacts;
const EVERY_MS = 5000;

/** @param {object} props `loopLagS`: the lag now, as `v1/queues` has it. */
export function ServerFacts({loopLagS}) {
  const {may} = useSession();
  const {document} = usePolled(may("admin") ? "v1/server" : null, {everyMs: EVERY_MS});
  const process = document?.process;
  const facts = [[S.lag, process ? S.lagWorst(durationText(loopLagS), durationText(process.loop_lag_s_max)) : durationText(loopLagS)]];
  if (process) facts.push([S.memory, bytesText(process.rss_bytes)], [S.connections, S.of(countText(process.connections), countText(process.connections_max))]);
  if (document) {
    facts.push(
      [S.records, S.of(countText(document.jobs_live + document.jobs_terminal), countText(document.jobs_max))],
      [S.recordBytes, S.of(bytesText(document.jobs_bytes), bytesText(document.jobs_bytes_max))],
      [S.longPolls, S.of(countText(document.long_polls), countText(document.long_polls_max))],
      [S.uptime, durationText(document.uptime_s)],
    );
  }
  return html`
    <section class="card stack" aria-labelledby="server-facts">
      <h2 id="server-facts">${S.title}</h2>
      <dl class="tiles">${facts.map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>
    </section>`;
}
