/**
 * Muted groups of failures: hidden in this browser alone, until they are shown again.
 *
 * At most `MUTED_MAX` are kept; with one more the oldest is forgotten. Where the browser keeps nothing, they last as long
 * as the page.
 */

import {createStore} from "./store.js";

const KEY = "jobqueue.muted";
const MUTED_MAX = 200;
const ID = /^[0-9a-f]{16}$/;

const store = createStore(kept());

export const muted = {
  /** The ids, oldest first. */
  store,

  /** Mute a group, or show it again. */
  toggle(id) {
    const others = store.get().filter((each) => each !== id);
    const next = others.length < store.get().length ? others : [...others, id].slice(-MUTED_MAX);
    store.set(next);
    try {
      localStorage.setItem(KEY, JSON.stringify(next));
    } catch {
      // no room, or not allowed
    }
  },
};

function kept() {
  try {
    const ids = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(ids) ? ids.filter((id) => ID.test(id)).slice(-MUTED_MAX) : [];
  } catch {
    return [];
  }
}
