/**
 * A table of dense rows: sorted by its heads, walked by `j` and `k`, opened by Enter, selected by `x` and Shift.
 *
 * On narrow screens rows become cards. The roles are written out, since a browser drops those of a table that is
 * displayed as anything else.
 */

import {useKeys} from "../shell/keys.js";
import {STRINGS} from "../strings.js";
import {html, useRef, useState} from "../ui.js";
import {Empty} from "./empty.js";

const S = STRINGS.table;

/**
 * @param {object} props
 *   `label`: of the table, for screen readers. `rows`, `rowKey(row)`.
 *   `columns`: `[{key, title, render(row), align: "end" or "whole" (not broken)?, sortable?, blank(row)?}]`; `blank` hides a cell of a card.
 *   `sort`: `{key, descending}` and `onSort({key, descending})`, where the heads sort.
 *   `onOpen(row)`; `selected`: a Set of keys, and `onSelect(keys)` with a new one; `empty`: shown without rows.
 */
export function Table({label, columns, rows, rowKey, sort, onSort, onOpen, selected, onSelect, empty = S.empty}) {
  const body = useRef(null);
  const [at, setAt] = useState(0);
  const focus = (index) => {
    const to = Math.max(0, Math.min(rows.length - 1, index));
    setAt(to);
    body.current?.children[to]?.focus();
  };
  const focused = () => (body.current ? [...body.current.children].indexOf(document.activeElement) : -1);
  const walk = (step) => focus(focused() < 0 ? at : focused() + step);
  const select = useSelection({rows, rowKey, selected, onSelect});
  const keys = {
    j: {label: S.next, run: () => walk(1)},
    k: {label: S.previous, run: () => walk(-1)},
    ...(onOpen && {Enter: {label: S.open, run: () => focused() >= 0 && onOpen(rows[focused()])}}),
    ...(onSelect && {x: {label: S.select, run: (event) => focused() >= 0 && select(focused(), event)}}),
  };
  useKeys(keys, {label: label ?? S.rows});
  if (!rows.length) return html`<div class="table-box"><${Empty}>${empty}<//></div>`;
  return html`
    <div class="table-box cards">
      <table class="table" role="table" aria-label=${label}>
        <thead role="rowgroup">
          <tr role="row">
            ${onSelect && html`
              <th role="columnheader" class="select"><${AllBox} rows=${rows} rowKey=${rowKey} selected=${selected} onSelect=${onSelect} /></th>`}
            ${columns.map((column) => html`<${Head} key=${column.key} column=${column} sort=${sort} onSort=${onSort} />`)}
          </tr>
        </thead>
        <tbody role="rowgroup" ref=${body}>
          ${rows.map((row, index) => {
            const key = rowKey(row);
            const isSelected = selected?.has(key) ?? false;
            return html`
              <tr role="row" key=${key} tabindex=${index === at ? 0 : -1} class=${`${onOpen ? "opens" : ""} ${isSelected ? "selected" : ""}`}
                onFocus=${() => setAt(index)} onClick=${(event) => onOpen && !event.target.closest("a, button, input, label") && !chosenText() && onOpen(row)}>
                ${onSelect && html`
                  <td role="cell" class="select" data-title=${S.select}>
                    <input type="checkbox" aria-label=${S.selectRow(key)} checked=${isSelected} onClick=${(event) => select(index, event)} />
                  </td>`}
                ${columns.map((column) => html`
                  <td role="cell" key=${column.key} data-title=${column.title} class=${`${column.align ?? ""} ${column.blank?.(row) ? "blank" : ""}`}>
                    ${column.render ? column.render(row) : row[column.key]}
                  </td>`)}
              </tr>`;
          })}
        </tbody>
      </table>
    </div>`;
}

function Head({column, sort, onSort}) {
  const sorts = column.sortable && onSort;
  const isSorted = sort?.key === column.key;
  const order = isSorted ? (sort.descending ? "descending" : "ascending") : null;
  const sortBy = () => onSort({key: column.key, descending: isSorted ? !sort.descending : true});
  return html`
    <th role="columnheader" scope="col" class=${column.align === "end" ? "end" : ""} aria-sort=${order}>
      ${sorts ? html`<button class="sort" onClick=${sortBy}>${column.title}<span aria-hidden="true">${isSorted ? (sort.descending ? " ▾" : " ▴") : ""}</span></button>` : column.title}
    </th>`;
}

function AllBox({rows, rowKey, selected, onSelect}) {
  const all = rows.every((row) => selected?.has(rowKey(row)));
  const toggle = () => onSelect(all ? new Set() : new Set(rows.map(rowKey)));
  return html`<input type="checkbox" aria-label=${S.selectAll} checked=${all} onClick=${toggle} />`;
}

/** Return a function that selects a row, or with Shift all rows since the last one. */
function useSelection({rows, rowKey, selected, onSelect}) {
  const last = useRef(null);
  return (index, event) => {
    const next = new Set(selected);
    const wanted = !next.has(rowKey(rows[index]));
    const from = event?.shiftKey && last.current !== null ? last.current : index;
    for (let n = Math.min(from, index); n <= Math.max(from, index) && n < rows.length; n += 1) {
      if (wanted) next.add(rowKey(rows[n]));
      else next.delete(rowKey(rows[n]));
    }
    last.current = index;
    onSelect(next);
  };
}

const chosenText = () => String(getSelection()) !== "";
