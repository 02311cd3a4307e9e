/**
 * The layout of a flow's graph: layers from left to right, a job one layer after the last of its parents.
 *
 * Rules:
 *
 * 1. Within a layer the order follows that of parents and children, so that few edges cross.
 * 2. An edge over several layers has a narrow place of its own in each layer between, so that it passes no job.
 * 3. Parents that the flow does not hold (any more) have no edges.
 */

export const JOB_WIDTH = 190;
export const JOB_HEIGHT = 46;

const LAYER_GAP = 56;
const JOB_GAP = 14;
const PASS_HEIGHT = 8;
const MARGIN = 8;
const SWEEPS = 4;

/**
 * Return the layer of each job, from 0 on.
 *
 * @param {{id: string, after: string[]}[]} jobs Parents before their children.
 * @returns {Map<string, number>} By id.
 */
export function layersOf(jobs) {
  const layers = new Map();
  for (const {id, after} of jobs) {
    const above = after.map((parent) => layers.get(parent)).filter((layer) => layer !== undefined);
    layers.set(id, above.reduce((most, layer) => Math.max(most, layer + 1), 0));
  }
  return layers;
}

/** Return the number of edges between jobs that are held. */
export function edgeCount(jobs) {
  const held = new Set(jobs.map(({id}) => id));
  return jobs.reduce((sum, {after}) => sum + after.filter((parent) => held.has(parent)).length, 0);
}

/**
 * Return the layout of a graph.
 *
 * @param {{id: string, after: string[]}[]} jobs Parents before their children.
 * @returns {{width: number, height: number, jobs: {id: string, x: number, y: number}[], edges: {from: string, to: string, path: string}[]}}
 *   Places are those of left upper corners; `path` is that of an SVG.
 */
export function layoutOf(jobs) {
  const {layers, chains} = placesOf(jobs);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const layer of layers.slice(1)) sortBy(layer, "before");
    for (const layer of layers.slice(0, -1).reverse()) sortBy(layer, "after");
  }
  const height = Math.max(...layers.map(heightOf), 0);
  for (const [number, layer] of layers.entries()) stack(layer, MARGIN + number * (JOB_WIDTH + LAYER_GAP), MARGIN + (height - heightOf(layer)) / 2);
  return {
    width: 2 * MARGIN + layers.length * (JOB_WIDTH + LAYER_GAP) - LAYER_GAP,
    height: height + 2 * MARGIN,
    jobs: layers.flat().filter(({id}) => id !== null).map(({id, x, y}) => ({id, x, y})),
    edges: chains.map((chain) => ({from: chain[0].id, to: chain.at(-1).id, path: pathOf(chain)})),
  };
}

/** Return the places of jobs and passing edges by layer, and the places that each edge goes through. */
function placesOf(jobs) {
  const depth = layersOf(jobs);
  const layers = Array.from({length: 1 + Math.max(-1, ...depth.values())}, () => []);
  const place = (id, layer) => {
    const made = {id, height: id === null ? PASS_HEIGHT : JOB_HEIGHT, before: [], after: [], index: layers[layer].length};
    layers[layer].push(made);
    return made;
  };
  const byId = new Map();
  const chains = [];
  for (const {id, after} of jobs) {
    byId.set(id, place(id, depth.get(id)));
    for (const parent of after) {
      if (!depth.has(parent)) continue;
      const chain = [byId.get(parent)];
      for (let layer = depth.get(parent) + 1; layer < depth.get(id); layer += 1) chain.push(place(null, layer));
      chain.push(byId.get(id));
      chains.push(chain);
      for (let at = 1; at < chain.length; at += 1) {
        chain[at - 1].after.push(chain[at]);
        chain[at].before.push(chain[at - 1]);
      }
    }
  }
  return {layers, chains};
}

/** Sort a layer by the mean place of its neighbours on one side; without any a place keeps its own. */
function sortBy(layer, side) {
  const mean = ({[side]: near, index}) => (near.length ? near.reduce((sum, each) => sum + each.index, 0) / near.length : index);
  const means = new Map(layer.map((each) => [each, mean(each)]));
  layer.sort((one, other) => means.get(one) - means.get(other) || one.index - other.index);
  for (const [index, each] of layer.entries()) each.index = index;
}

function heightOf(layer) {
  return layer.reduce((sum, {height}) => sum + height + JOB_GAP, -JOB_GAP);
}

function stack(layer, x, from) {
  let y = from;
  for (const each of layer) {
    Object.assign(each, {x, y});
    y += each.height + JOB_GAP;
  }
}

function pathOf(chain) {
  const middle = ({y, height}) => y + height / 2;
  const parts = [`M${chain[0].x + JOB_WIDTH} ${middle(chain[0])}`];
  for (let at = 1; at < chain.length; at += 1) {
    const [from, to] = [chain[at - 1].x + JOB_WIDTH, chain[at].x];
    const turn = (to - from) / 2;
    parts.push(`C${from + turn} ${middle(chain[at - 1])} ${to - turn} ${middle(chain[at])} ${to} ${middle(chain[at])}`);
    if (at < chain.length - 1) parts.push(`H${to + JOB_WIDTH}`);
  }
  return parts.join("");
}
