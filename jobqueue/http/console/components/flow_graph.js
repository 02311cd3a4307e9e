/** The graph of a flow: its jobs as boxes in layers, with their state by colour, sign and word, and edges from parents. */

import {JOB_HEIGHT, JOB_WIDTH, layoutOf} from "../data/flow_layout.js";
import {href} from "../shell/router.js";
import {STRINGS} from "../strings.js";
import {html, useMemo} from "../ui.js";
import {StateShape} from "./state.js";
import {visibleText} from "./text.js";

const S = STRINGS.flow;
const TEXT_X = 28;
const TEXT_MARGIN = 6;
const NAME_MAX = 40;
const LINE_MAX = 26;

/** @param {object} props `jobs`: of the flow's document, parents before their children. */
export function FlowGraph({jobs}) {
  const shape = JSON.stringify(jobs.map(({id, after}) => [id, after]));
  const layout = useMemo(() => layoutOf(jobs), [shape]);
  const byId = new Map(jobs.map((job) => [job.id, job]));
  return html`
    <div class="flow-graph" role="region" aria-label=${S.graphOf} tabindex="0">
      <svg width=${layout.width} height=${layout.height} viewBox=${`0 0 ${layout.width} ${layout.height}`}>
        <clipPath id="flow-job-clip"><rect width=${JOB_WIDTH - TEXT_MARGIN} height=${JOB_HEIGHT} /></clipPath>
        <g aria-hidden="true">${layout.edges.map(({from, to, path}) => html`<path key=${`${from} ${to}`} class=${`flow-edge ${byId.get(from).state}`} d=${path} />`)}</g>
        ${layout.jobs.map(({id, x, y}) => html`<${Box} key=${id} job=${byId.get(id)} x=${x} y=${y} />`)}
      </svg>
    </div>`;
}

function Box({job, x, y}) {
  const word = STRINGS.states[job.state] ?? job.state;
  return html`
    <a class=${`flow-job ${job.state}`} href=${href("job", {id: job.id})} transform=${`translate(${x} ${y})`}>
      <rect width=${JOB_WIDTH} height=${JOB_HEIGHT} rx="6" />
      <svg x="10" y="11" width="11" height="11" aria-hidden="true"><${StateShape} state=${job.state} /></svg>
      <g clip-path="url(#flow-job-clip)">
        <text class="flow-name" x=${TEXT_X} y="20">${visibleText(memberName(job), NAME_MAX)}</text>${" "}
        <text class="flow-type" x=${TEXT_X} y="37">${memberName(job) === job.type ? word : `${visibleText(job.type, LINE_MAX - word.length)} · ${word}`}</text>
      </g>
    </a>`;
}

/** The name of a job in its flow; one without a name has its type. */
export const memberName = ({name, type}) => name ?? type;
