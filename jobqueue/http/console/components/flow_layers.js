/** The layers of a flow that is too large for a graph: the number of jobs in each, by state. */

import {layersOf} from "../data/flow_layout.js";
import {STATES} from "../data/states.js";
import {STRINGS} from "../strings.js";
import {html, useMemo} from "../ui.js";
import {countText} from "./number.js";

const S = STRINGS.flow;
const LAYERS_MAX = 40;

/** @param {object} props `jobs`: of the flow's document, parents before their children. */
export function FlowLayers({jobs}) {
  const layers = useMemo(() => countsByLayer(jobs), [jobs]);
  const most = Math.max(...layers.map(({count}) => count));
  return html`
    <table class="bars flow-layers">
      <caption>${S.layersCaption}</caption>
      <tbody>${layers.slice(0, LAYERS_MAX).map(({counts, count}, number) => html`<${Layer} key=${number} number=${number} counts=${counts} count=${count} most=${most} />`)}</tbody>
    </table>
    ${layers.length > LAYERS_MAX && html`<p class="muted">${S.moreLayers(countText(layers.length - LAYERS_MAX))}</p>`}`;
}

function countsByLayer(jobs) {
  const depth = layersOf(jobs);
  const layers = Array.from({length: 1 + Math.max(...depth.values())}, () => ({counts: {}, count: 0}));
  for (const {id, state} of jobs) {
    const layer = layers[depth.get(id)];
    layer.count += 1;
    layer.counts[state] = (layer.counts[state] ?? 0) + 1;
  }
  return layers;
}

function Layer({number, counts, count, most}) {
  const states = STATES.filter((state) => counts[state]);
  const words = states.map((state) => `${countText(counts[state])} ${STRINGS.states[state]}`).join(", ");
  return html`
    <tr>
      <th scope="row"><span class="lines"><span>${S.layer(number + 1)}</span><span class="muted">${words}</span></span></th>
      <td class="track"><div class="bar" aria-hidden="true">${states.map((state) => html`<span key=${state} class=${`part ${state}`} style=${{width: `${(100 * counts[state]) / most}%`}} />`)}</div></td>
      <td class="number">${countText(count)}</td>
    </tr>`;
}
