/** A forecast in words: the names of settings, the best of them under a load, and the sentence that says so. */

import {durationText} from "../components/duration.js";
import {countText, rateText, shareText} from "../components/number.js";
import {STRINGS} from "../strings.js";

const S = STRINGS.whatIf;

/** What a cell can be shown by: its figure, the text of a value, and whether more is better. */
export const MEASURES = {
  goodput: {figure: (cell) => cell.goodput_per_s, text: rateText, more: true},
  wait: {figure: (cell) => cell.wait_p95_s, text: durationText, more: false},
  refused: {figure: (cell) => cell.refused_share, text: shareText, more: false},
  late: {figure: (cell) => cell.late_per_s, text: rateText, more: false},
  expired: {figure: (cell) => cell.expired_per_s, text: rateText, more: false},
  utilisation: {figure: (cell) => cell.utilisation, text: shareText, more: true},
};

/** 1.5× */
export const loadText = (load) => `${load}×`;

/** "adaptive, 31 slots, 10 workers", and the patience where it is another one. */
export function nameOf({settings, changes}) {
  const words = [settings.discipline, S.slots(countText(settings.capacity)), S.workers(countText(settings.workers))];
  if (changes.includes("patience_s")) words.push(S.patienceOf(durationText(settings.patience_s)));
  return words.join(", ");
}

/** Return the rows of the table: each setting with a key, its name, and whether it is the present one. */
export function rowsOf(forecast) {
  return forecast.alternatives.map((alternative, number) => ({
    ...alternative,
    key: String(number),
    name: nameOf(alternative),
    present: alternative.changes.length === 0,
  }));
}

/**
 * Return the keys of the best settings under a load, by their goodput: the highest, and those that it is not told apart
 * from. None, where that is most of them.
 */
export function bestOf(rows, column) {
  const known = rows.filter(({cells}) => cells[column]);
  const figure = ({cells}) => cells[column].goodput_per_s;
  const best = known.reduce((one, other) => (!one || figure(other).mean > figure(one).mean ? other : one), null);
  if (!best) return new Set();
  const alike = known.filter((row) => figure(row).max >= figure(best).min);
  return new Set(2 * alike.length > known.length ? [] : alike.map(({key}) => key));
}

/** Return what a load means, in one sentence: the best setting, and what it keeps beside the present one. */
export function sentenceOf(rows, loads, column) {
  const load = loadText(loads[column]);
  const present = rows.find((row) => row.present)?.cells[column];
  const best = bestOf(rows, column);
  if (!present) return S.notReached(load);
  if (!best.size || best.has(rows.find((row) => row.present).key)) return S.noBetter(load, ...kept(present));
  const [first] = rows.filter(({key}) => best.has(key)).sort((one, other) => goodput(other, column) - goodput(one, column));
  return S.better(load, first.name, ...kept(first.cells[column]), ...kept(present));
}

const goodput = ({cells}, column) => cells[column].goodput_per_s.mean;

function kept(cell) {
  const {mean} = cell.goodput_per_s;
  return [rateText(mean), shareText(Math.min(1, cell.offered_per_s ? mean / cell.offered_per_s : 0))];
}

/** Return the changes of a setting against the present ones of the queue: `[{name, from, to, live}]`. */
export function changesOf(settings, queue, names) {
  const now = {...queue};
  return names
    .filter((name) => settings[name] !== now[name])
    .map((name) => ({name, from: now[name], to: settings[name], live: LIVE.includes(name)}));
}

export const LIVE = ["discipline", "capacity", "workers"];
