/** The table of a forecast: settings by loads, each cell with its figure, its spread and a bar. */

import {MEASURES, bestOf, loadText} from "../data/forecast.js";
import {STRINGS} from "../strings.js";
import {html, useMemo, useState} from "../ui.js";
import {Badge} from "./badge.js";
import {Table} from "./table.js";

const S = STRINGS.whatIf;

/**
 * @param {object} props `rows`, of `rowsOf`; `loads`; `measure`: a key of `MEASURES`; `onApply(row)`, or null: nothing
 *   can be applied.
 */
export function ForecastTable({rows, loads, measure, onApply}) {
  const [sort, setSort] = useState(null);
  const best = useMemo(() => loads.map((_, column) => bestOf(rows, column)), [rows, loads]);
  const {figure, text, more} = MEASURES[measure];
  const value = (row, column) => (row.cells[column] ? figure(row.cells[column])?.mean ?? null : null);
  const top = Math.max(...rows.flatMap((row) => loads.map((_, column) => value(row, column) ?? 0)), 1e-9);
  const sorted = useMemo(() => sortedBy(rows, sort, loads, value), [rows, sort, measure]);
  const columns = [
    {key: "name", title: S.setting, render: (row) => html`<${Setting} row=${row} />`},
    ...loads.map((load, column) => ({
      key: `load-${column}`,
      title: loadText(load),
      align: "end",
      sortable: true,
      render: (row) => html`<${Cell} cell=${row.cells[column]} figure=${figure} text=${text} top=${top} best=${best[column].has(row.key)} />`,
    })),
    {
      key: "apply",
      title: S.apply,
      blank: (row) => row.present || !onApply,
      render: (row) => (row.present || !onApply ? "" : html`<button class="button small" onClick=${() => onApply(row)}>${S.applyIt}<span class="visually-hidden"> ${row.name}</span></button>`),
    },
  ];
  const byLoad = ({key, descending}) => setSort({key, descending: sort?.key === key ? descending : more});
  return html`<${Table} label=${S.table(S.measures[measure])} columns=${columns} rows=${sorted} rowKey=${({key}) => key} sort=${sort} onSort=${byLoad} />`;
}

function Setting({row}) {
  return html`
    <span class="row">
      <span>${row.name}</span>
      ${row.present && html`<${Badge} kind="accent">${S.present}<//>`}
      ${!row.live && html`<${Badge} kind="warn" title=${S.notLiveDetail}>${S.notLive}<//>`}
    </span>`;
}

function Cell({cell, figure, text, top, best}) {
  const shown = cell && figure(cell);
  if (!shown) return html`<span class="muted">${cell ? S.none : S.noTime}</span>`;
  const width = Math.max(0, Math.min(100, (100 * shown.mean) / top));
  return html`
    <span class="forecast-cell ${best ? "best" : ""}" title=${S.spread(text(shown.min), text(shown.max))}>
      <span>${best && html`<${Badge} kind="good">${S.best}<//>`} <b>${text(shown.mean)}</b></span>
      <span class="muted">${text(shown.min)} – ${text(shown.max)}</span>
      <span class="heat" aria-hidden="true"><span style=${{width: `${width}%`}} /></span>
    </span>`;
}

/** Rows without a value come last, whatever the order. */
function sortedBy(rows, sort, loads, value) {
  if (!sort) return rows;
  const column = Number(sort.key.split("-")[1]);
  const direction = sort.descending ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [left, right] = [value(one, column), value(other, column)];
    if (left === null || right === null) return (left === null) - (right === null);
    return direction * (left - right);
  });
}
