/** Readiness: whether the server admits jobs, asked every few seconds while the tab is shown. */

import {usePolled} from "../data/polling.js";

const EVERY_MS = 5000;

/** @returns {{draining: boolean, recovering: string | null, degraded: string[]}} `recovering`: how far it has come. */
export function useReadiness() {
  const {document, problem} = usePolled("readyz", {everyMs: EVERY_MS});
  return {
    draining: problem?.slug === "draining",
    recovering: problem?.slug === "recovering" ? problem.detail : null,
    degraded: document?.degraded ?? [],
  };
}
