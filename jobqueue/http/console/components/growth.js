/** The growth of totals per second, over the readings that a page has made of a document. */

import {Rates} from "../data/rates.js";
import {useRef} from "../ui.js";

/**
 * Return the rates of all queues.
 *
 * @param {number|null} at The instant of the document, in milliseconds.
 * @param {object[]} queues Their documents.
 */
export function useGrowth(at, queues) {
  const rates = useRef(null);
  rates.current ??= new Rates();
  if (at !== null) rates.current.add(at, new Map(queues.map((queue) => [queue.name, totalsOf(queue)])));
  return rates.current;
}

function totalsOf(queue) {
  const ended = queue.succeeded_total + queue.failed_total + queue.cancelled_total + queue.expired_total;
  return {in: queue.submitted_total, out: ended, rejected: queue.refused_total};
}
