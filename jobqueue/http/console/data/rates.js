/** Rates: how fast a queue's totals grow, from the documents that the page has read anyway. */

/** Seconds of the past that count. */
const WINDOW_MS = 15_000;
const POINTS_MAX = 80;

/** The totals of named things, as they were at the latest readings. */
export class Rates {
  constructor() {
    this.points = [];
  }

  /**
   * Note a reading; one at the instant of the last is ignored.
   *
   * @param {number} atMs
   * @param {Map<string, object>} totals By name: an object of numbers.
   */
  add(atMs, totals) {
    const last = this.points[this.points.length - 1];
    if (last && atMs <= last.atMs) return;
    this.points.push({atMs, totals});
    while (this.points.length > POINTS_MAX || (this.points.length > 2 && atMs - this.points[1].atMs >= WINDOW_MS)) this.points.shift();
  }

  /** Return the growth of one total, per second; null: it was read once, or the server has begun anew since. */
  perS(name, member) {
    if (this.points.length < 2) return null;
    const [first, last] = [this.points[0], this.points[this.points.length - 1]];
    const [before, after] = [first.totals.get(name)?.[member], last.totals.get(name)?.[member]];
    if (before === undefined || after === undefined || after < before) return null;
    return ((after - before) * 1000) / (last.atMs - first.atMs);
  }
}
