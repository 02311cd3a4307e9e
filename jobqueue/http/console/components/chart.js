/**
 * A chart over time: lines, or areas upon each other; one crosshair over all charts of a page.
 *
 * Rules:
 *
 * 1. uPlot draws; it is loaded with the first chart. New points are handed to the drawing that exists.
 * 2. The legend has the values under the crosshair, else the last ones, as text; series differ by dashes and hatches,
 *    not by colour alone.
 * 3. The arrow keys move the crosshair of a focused chart.
 */

import {connection} from "../data/connection.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useRef, useState} from "../ui.js";
import {colourOf, fillingOf, variable} from "./chart_colours.js";
import {countText} from "./number.js";
import {instantText} from "./instant.js";

const HEIGHT = 150;
const SPAN_S_MIN = 10;
const DASHES = {solid: [], dashed: [7, 4], dotted: [2, 3]};
const DARK = matchMedia("(prefers-color-scheme: dark)");
const CLOCK = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
const CLOCK_S = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
const DAY_MS = 86_400_000;

/**
 * @param {object} props
 *   `title`: of the chart. `x`: instants in seconds, ascending. `series`: `[{key, label, values, kind?, dash?}]`, each
 *   with a value, or null for a gap, for each instant; `kind`: a state or a variable of the style sheet; `dash`: solid,
 *   dashed or dotted. `stacked`: areas upon each other. `log`: a logarithmic axis. `text(value)`: a value in words.
 *   `spanS`: the seconds up to the last point that the chart shows; by default all points. `sync`: charts of one name share a crosshair. `height` in pixels.
 */
export function Chart({title, x, series, stacked = false, log = false, text = countText, spanS, sync = "console", height = HEIGHT}) {
  const place = useRef(null);
  const plot = useRef(null);
  const [at, setAt] = useState(null);
  const [uPlot, setPlot] = useState(null);
  const [dark, setDark] = useState(DARK.matches);
  const shape = JSON.stringify([series.map(({key, kind, dash}) => [key, kind, dash]), stacked, log, height, spanS]);
  const data = dataOf(x, series, stacked);

  useEffect(() => {
    let shown = true;
    const load = () => import("../vendor/uplot.js").then((module) => shown && setPlot(() => module.default), () => undefined);
    load();
    const stop = connection.subscribe(({goneSince}) => goneSince === null && load());
    const look = () => setDark(DARK.matches);
    DARK.addEventListener("change", look);
    return () => {
      shown = false;
      stop();
      DARK.removeEventListener("change", look);
    };
  }, []);

  useEffect(() => {
    if (!uPlot) return undefined;
    const {clientWidth: width} = place.current;
    const options = optionsOf({uPlot, width, height, series, stacked, log, text, spanS, sync, onCursor: setAt});
    const drawn = (plot.current = new uPlot(options, data, place.current));
    const observer = new ResizeObserver(([{contentRect}]) => drawn.setSize({width: Math.floor(contentRect.width), height}));
    observer.observe(place.current);
    return () => {
      observer.disconnect();
      drawn.destroy();
      plot.current = null;
    };
  }, [uPlot, shape, dark]);

  useEffect(() => plot.current?.setData(data), [x, series]);

  const shownAt = at !== null && at < x.length ? at : x.length - 1;
  const onKeyDown = (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!step || !plot.current) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(x.length - 1, shownAt + step));
    plot.current.setCursor({left: plot.current.valToPos(x[to], "x"), top: 10}, true, true);
  };
  return html`
    <div class="chart" role="group" aria-label=${title} tabindex="0" onKeyDown=${onKeyDown}>
      <div class="chart-head">
        <h3>${title}</h3>
        <ul class="legend">
          ${series.map(({key, label, values, kind, dash}) => html`
            <li key=${key}><${Swatch} kind=${kind} dash=${dash} stacked=${stacked} /> ${label} <b>${text(values[shownAt] ?? null)}</b></li>`)}
          <li class="muted">${x.length ? instantText(x[shownAt] * 1000) : STRINGS.chart.none}</li>
        </ul>
      </div>
      <div class="plot" ref=${place} style=${{height: `${height}px`}} aria-hidden="true" />
    </div>`;
}

function Swatch({kind, dash, stacked}) {
  return html`
    <svg class="swatch ${kind?.startsWith("--") ? `line${kind}` : kind ?? ""}" viewBox="0 0 18 10" aria-hidden="true">
      ${stacked ? html`<rect class="fill" width="18" height="10" />` : html`<path d="M0 5h18" stroke-dasharray=${(DASHES[dash] ?? []).join(" ")} />`}
    </svg>`;
}

/** Return uPlot's columns; stacked ones are sums, the whole first, so that each band lies between two neighbours. */
function dataOf(x, series, stacked) {
  if (!stacked) return [x, ...series.map(({values}) => values)];
  const columns = [];
  let below = x.map(() => 0);
  for (const {values} of series) {
    const base = below;
    below = values.map((value, n) => (value === null ? null : base[n] + value));
    columns.unshift(below);
    below = below.map((value, n) => value ?? base[n]);
  }
  return [x, ...columns];
}

/** The width of the axis of values: its longest text has room. */
const widthOf = (_, texts) => Math.max(62, 14 + 6.5 * Math.max(0, ...(texts ?? []).map(({length}) => length)));

function optionsOf({uPlot, width, height, series, stacked, log, text, spanS, sync, onCursor}) {
  const drawn = stacked ? [...series].reverse() : series;
  const grid = {stroke: variable("--line"), width: 1};
  const axis = {stroke: variable("--muted"), font: "11px system-ui", grid, ticks: grid};
  const decades = {...grid, filter: (_, splits) => splits.map((value) => (Number.isInteger(Math.round(1e9 * Math.log10(value)) / 1e9) ? value : null))};
  return {
    width,
    height,
    legend: {show: false},
    padding: [8, 8, 0, 0],
    cursor: {drag: {x: false, y: false}, points: {show: !stacked, size: 6}, y: false, sync: {key: sync}},
    scales: {x: {time: true, range: (_, min, max) => timesShown(min, max, spanS)}, y: log ? {distr: 3} : {range: (_, min, max) => [0, max > 0 ? max * 1.08 : 1]}},
    axes: [
      {...axis, size: 24, space: 76, values: (_, splits) => timesOf(splits)},
      {...axis, ...(log && {grid: decades, ticks: decades}), size: widthOf, values: (_, splits) => splits.map((value) => (value === null ? "" : text(value)))},
    ],
    series: [{}, ...drawn.map(({kind, dash}) => seriesOptions(kind, dash, stacked))],
    bands: stacked ? drawn.slice(0, -1).map(({kind}, n) => ({series: [n + 1, n + 2], fill: (u) => fillingOf(u.ctx, kind)})) : [],
    hooks: {setCursor: [(u) => onCursor(u.cursor.idx ?? null)]},
  };

  function seriesOptions(kind, dash, fills) {
    return {
      stroke: colourOf(kind),
      width: fills ? 1 : 1.5,
      dash: DASHES[dash] ?? [],
      fill: fills ? (u) => fillingOf(u.ctx, kind) : undefined,
      points: fills ? {show: false} : {size: 4, fill: colourOf(kind)},
      paths: fills ? uPlot.paths.stepped({align: -1}) : undefined,
    };
  }
}

function timesOf(splits) {
  const stepS = splits.length > 1 ? splits[1] - splits[0] : 60;
  const format = stepS < 60 ? CLOCK_S : CLOCK;
  return splits.map((value) => (stepS * 1000 >= DAY_MS ? instantText(value * 1000) : format.format(value * 1000)));
}

function timesShown(min, max, spanS) {
  return max === null ? [null, null] : [max - (spanS ?? Math.max(SPAN_S_MIN, max - min)), max];
}
