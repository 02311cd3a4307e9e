/**
 * Visibility: whether the tab is shown, and whether the viewer has paused live updates.
 *
 * Rules:
 *
 * 1. A hidden tab requests nothing: pollers and streams stop, and go on when it is shown again.
 * 2. A paused page requests nothing by itself; a first load and an explicit reload still do.
 */

import {createStore} from "./store.js";

export const visible = createStore(document.visibilityState !== "hidden");
export const paused = createStore(false);

document.addEventListener("visibilitychange", () => visible.set(document.visibilityState !== "hidden"));
