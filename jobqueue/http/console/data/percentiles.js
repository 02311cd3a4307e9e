/** Percentiles of durations that were counted by fixed bounds: exact to the bucket, between its bounds by its share. */

/**
 * Return the duration in seconds below which a share of all lies; null: there are none.
 *
 * @param {number[]} counts For each bound, and beyond the last one.
 * @param {number[]} boundsS The upper bounds.
 * @param {number} share From 0 to 1.
 */
export function percentile(counts, boundsS, share) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = total * share;
  for (const [bucket, count] of counts.entries()) {
    if (count > 0 && left <= count) {
      const high = boundsS[bucket] ?? boundsS.at(-1) * 4;
      const low = boundsS[bucket - 1] ?? high / 4;
      return low * (high / low) ** (left / count);
    }
    left -= count;
  }
  return boundsS.at(-1) * 4;
}
