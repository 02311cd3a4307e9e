/** Exports jobs as lines of JSON: the pages of a list, one after the other, into a file of the viewer. */

import {get} from "./api.js";

const PAGE = 100;

/**
 * Save the jobs that match, at most a number of them; each is one line.
 *
 * @param {Record<string, string>} filter As in the query of `GET v1/jobs`.
 * @param {string} name Of the file, without its ending.
 * @returns {Promise<{count: number, complete: boolean}>} Whether these are all. Throws ProblemError.
 */
export async function exportJobs(filter, name, most) {
  const lines = [];
  let cursor = null;
  do {
    const page = await get("v1/jobs", {query: {...filter, limit: Math.min(PAGE, most - lines.length), cursor}});
    lines.push(...page.jobs.map((job) => JSON.stringify(job)));
    cursor = page.next_cursor;
  } while (cursor !== null && lines.length < most);
  save(lines, `${name}.jsonl`);
  return {count: lines.length, complete: cursor === null};
}

function save(lines, name) {
  const url = URL.createObjectURL(new Blob([lines.map((line) => `${line}\n`).join("")], {type: "application/jsonl"}));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
