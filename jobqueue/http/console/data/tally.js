/** Tallies: how often each value of a member comes up, the most frequent first. */

/**
 * @param {object[]} rows
 * @param {string} member
 * @returns {{value: any, count: number}[]}
 */
export function tally(rows, member) {
  const counts = new Map();
  for (const row of rows) counts.set(row[member], (counts.get(row[member]) ?? 0) + 1);
  return [...counts].map(([value, count]) => ({value, count})).sort((one, other) => other.count - one.count);
}
