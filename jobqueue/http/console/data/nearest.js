/** Suggestions for mistyped words: "did you mean". */

const LENGTH_MAX = 40;

/** Return the word that is nearest to a mistyped one, or null if none is near. */
export function nearest(word, words) {
  if (word.length > LENGTH_MAX) return null;
  const typed = word.toLowerCase();
  let best = null;
  let fewest = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const each of words) {
    const edits = typed && each.toLowerCase().startsWith(typed) ? 1 : distance(typed, each.toLowerCase());
    if (edits < fewest) [best, fewest] = [each, edits];
  }
  return best;
}

/** Return the number of letters to insert, remove, replace or swap with their neighbour. */
function distance(a, b) {
  let [beforeLast, last] = [[], Array.from({length: b.length + 1}, (_, index) => index)];
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = last[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(replaced, last[j] + 1, row[j - 1] + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], beforeLast[j - 2] + 1);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length];
}
