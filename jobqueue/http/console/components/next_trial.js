/** When a job of a quarantined type is tried next: at an instant, or as soon as one waits. */

import {useNow} from "../data/clock.js";
import {STRINGS} from "../strings.js";
import {html} from "../ui.js";
import {Age, msOf} from "./instant.js";

/** @param {object} props `at`: the instant, as the API has it. */
export function NextTrial({at}) {
  const now = useNow();
  return msOf(at) > now ? html`<${Age} at=${at} />` : STRINGS.type.nextJob;
}
