/**
 * The router: the page, its parameters and its query, as the hash of the URL has them.
 *
 *     #/jobs?q=state:failed   #/jobs/ID   #/queues/NAME   #/types/NAME/try   #/what-if/QUEUE
 */

import {createStore, useStore} from "../data/store.js";

/** Patterns of pages: a word, or the name of a parameter after a colon. The first that fits is taken. */
const PATTERNS = [
  ["overview", ""],
  ["overview", "overview"],
  ["jobs", "jobs"],
  ["job", "jobs/:id"],
  ["flows", "flows"],
  ["flow", "flows/:id"],
  ["queues", "queues"],
  ["queue", "queues/:name"],
  ["types", "types"],
  ["type", "types/:name"],
  ["type", "types/:name/:tab"],
  ["schedules", "schedules"],
  ["schedule", "schedules/:name"],
  ["topics", "topics"],
  ["failures", "failures"],
  ["failure", "failures/:id"],
  ["callers", "callers"],
  ["caller", "callers/:name"],
  ["live", "live"],
  ["server", "server"],
  ["what_if", "what-if"],
  ["what_if", "what-if/:queue"],
  ["sign_in", "sign-in"],
];

function parsed(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const words = path.split("/").filter(Boolean).map(decoded);
  const query = Object.fromEntries(new URLSearchParams(search));
  for (const [page, pattern] of PATTERNS) {
    const params = fitting(pattern.split("/").filter(Boolean), words);
    if (params !== null) return {page, params, query};
  }
  return {page: "missing", params: {path}, query};
}

function fitting(pattern, words) {
  if (pattern.length !== words.length) return null;
  const params = {};
  for (const [at, word] of pattern.entries()) {
    if (word.startsWith(":")) params[word.slice(1)] = words[at];
    else if (word !== words[at]) return null;
  }
  return params;
}

function decoded(word) {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

const route = createStore(parsed(location.hash));

addEventListener("hashchange", () => {
  if (location.hash === "" || location.hash.startsWith("#/")) route.set(parsed(location.hash));
});

/** Return the present route: `{page, params, query}`. */
export const useRoute = () => useStore(route);

/** Return the link to a page: `href("queue", {name: "mail"})` is `#/queues/mail`. */
export function href(page, params = {}, query = {}) {
  const given = Object.keys(params).filter((name) => params[name] !== undefined && params[name] !== null);
  const found = PATTERNS.find(([of, pattern]) => of === page && fits(pattern, given));
  const pattern = found ? found[1] : "";
  const words = pattern.split("/").map((word) => (word.startsWith(":") ? encodeURIComponent(params[word.slice(1)]) : word));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  }
  return `#/${words.join("/")}${search.size ? `?${search}` : ""}`;
}

function fits(pattern, given) {
  const names = pattern.split("/").filter((word) => word.startsWith(":"));
  return names.length === given.length && names.every((name) => given.includes(name.slice(1)));
}

/** Go to a page; `replace` leaves no entry in the history, for a query that changes with each key. */
export function go(page, params = {}, query = {}, {replace = false} = {}) {
  const hash = href(page, params, query);
  if (!replace) {
    location.hash = hash;
    return;
  }
  history.replaceState(null, "", hash);
  route.set(parsed(hash));
}
