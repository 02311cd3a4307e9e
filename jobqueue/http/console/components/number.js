/** Numbers in words: counts, rates, shares, bytes. */

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", {notation: "compact", maximumSignificantDigits: 3});
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** 12,345 */
export const countText = (count) => (count === null || count === undefined ? "–" : WHOLE.format(count));

/** 12.3K: where there is little room; the whole number belongs beside it, in a title. */
export const shortText = (count) => (count === null || count === undefined ? "–" : count < 10_000 ? countText(Math.round(count * 10) / 10) : SHORT.format(count));

/** 0.25/s, 9.6/s, 12.5/s, 1,250/s */
export function rateText(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  const rounded = perSecond >= 100 ? Math.round(perSecond) : Number(perSecond.toPrecision(perSecond < 10 ? 2 : 3));
  return `${WHOLE.format(rounded)}/s`;
}

/** 93 % */
export function shareText(share) {
  const percent = share * 100;
  return `${percent > 0 && percent < 1 ? "< 1" : Math.round(percent)} %`;
}

/** 1.5 MiB */
export function bytesText(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const power = Math.min(UNITS.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}
