/** Histograms of durations: counts by fixed upper bounds, of many points together. */

/**
 * Add up the points of a history: one count for each bucket, the last one without a bound.
 *
 * @param {(number[] | null)[]|undefined} buckets Of a series of `v1/stats`: `waits` or `runs`.
 * @returns {number[]} Empty: nothing was counted.
 */
export function totals(buckets) {
  return (buckets ?? []).map((points) => (points ?? []).reduce((total, each) => total + each, 0));
}

/**
 * Estimate a quantile, in seconds: the bound of its bucket, or where it would lie in it if all were spread evenly.
 *
 * @param {number[]} bounds Upper bounds, in seconds.
 * @param {number[]} counts One more than bounds.
 * @param {number} part Such as 0.95.
 * @returns {number|null} null: there were none.
 */
export function quantileS(bounds, counts, part) {
  const all = counts.reduce((total, each) => total + each, 0);
  if (!all) return null;
  let before = 0;
  for (let n = 0; n < counts.length; n += 1) {
    if (before + counts[n] >= part * all && counts[n]) {
      const low = n ? bounds[n - 1] : 0;
      if (n >= bounds.length) return low;
      return low + (bounds[n] - low) * ((part * all - before) / counts[n]);
    }
    before += counts[n];
  }
  return bounds[bounds.length - 1];
}

/** The buckets from the first to the last that has a count: the others would only be empty space. */
export function trimmed(bounds, counts) {
  const first = counts.findIndex(Boolean);
  if (first < 0) return [];
  const last = counts.findLastIndex(Boolean);
  return counts.slice(first, last + 1).map((count, n) => {
    const at = first + n;
    return {count, fromS: at ? bounds[at - 1] : 0, toS: at < bounds.length ? bounds[at] : null};
  });
}
