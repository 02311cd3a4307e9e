/** A histogram of durations: a bar for each range that has any, with its words and its count. */

import {quantileS, trimmed} from "../data/histogram.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {durationText} from "./duration.js";
import {countText} from "./number.js";

const S = STRINGS.queue;

/**
 * @param {object} props
 * @param {string} props.title What takes the time.
 * @param {number[]} props.bounds Upper bounds of the ranges, in seconds.
 * @param {number[]} props.counts One for each range, and one beyond.
 */
export function Histogram({title, bounds, counts}) {
  const bars = trimmed(bounds, counts);
  const most = Math.max(1, ...bars.map(({count}) => count));
  const all = bars.reduce((total, {count}) => total + count, 0);
  const [p50, p95] = [0.5, 0.95].map((part) => durationText(quantileS(bounds, counts, part)));
  return html`
    <figure class="histogram">
      <figcaption><strong>${title}</strong>${all > 0 && html` <span class="muted">${S.half} ${p50}, ${S.most} ${p95}</span>`}</figcaption>
      ${all === 0
        ? html`<p class="muted">${S.none}</p>`
        : html`<table class="bars" aria-label=${S.histogram(title, countText(all), p50, p95)}>
            <tbody>
              ${bars.map(({count, fromS, toS}) => html`
                <tr key=${fromS}>
                  <th scope="row">${rangeText(fromS, toS)}</th>
                  <td class="track"><span class=${count ? "fill" : "fill none"} style=${{width: `${(100 * count) / most}%`}}></span></td>
                  <td class="number">${countText(count)}</td>
                </tr>`)}
            </tbody>
          </table>`}
    </figure>`;
}

function rangeText(fromS, toS) {
  if (fromS === 0) return S.atMost(durationText(toS));
  return S.bucket(durationText(fromS), toS === null ? null : durationText(toS));
}
