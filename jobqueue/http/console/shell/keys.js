/**
 * Keys: those of the shell and of the page that is shown.
 *
 * Rules:
 *
 * 1. A key is a character ("r"), a name ("Enter", "Delete") or a sequence ("g j").
 * 2. Keys rest while a field has the focus, a dialog is open, or Ctrl, Alt or Meta is held. In a button or a link,
 *    Enter and the space bar stay theirs.
 * 3. What was registered last comes first, so a page may take a key of the shell.
 */

import {createStore, useStore} from "../data/store.js";
import {useEffect, useRef} from "../ui.js";

const SEQUENCE_MS = 1200;

/** The registered groups: `{label, keys: {key: {label, run}}}`, for the help. */
const groups = createStore([]);

let begun = null;
let begunAt = 0;

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if (target.closest("input:not([type=checkbox], [type=radio], [type=button]), textarea, select, [contenteditable], dialog")) return;
  if ((event.key === "Enter" || event.key === " ") && target.closest("a, button, summary, input")) return;
  const sequence = begun !== null && event.timeStamp - begunAt < SEQUENCE_MS ? `${begun} ${event.key}` : null;
  begun = null;
  const run = (sequence && handlerOf(sequence)) ?? handlerOf(event.key);
  if (run) {
    event.preventDefault();
    run(event);
  } else if (startsSequence(event.key)) {
    begun = event.key;
    begunAt = event.timeStamp;
  }
});

function handlerOf(key) {
  for (const {keys} of [...groups.get()].reverse()) if (keys[key]) return keys[key].run;
  return null;
}

function startsSequence(key) {
  return groups.get().some(({keys}) => Object.keys(keys).some((each) => each.startsWith(`${key} `)));
}

/**
 * Register keys while the component is shown; `?` lists them.
 *
 * @param {Object<string, function(KeyboardEvent)|{label: string, run: function(KeyboardEvent)}>} keys By key. Each has a
 *   label of its own, or else that of the group.
 * @param {{label: string}} options The name of the group.
 */
export function useKeys(keys, {label = ""} = {}) {
  const latest = useRef(keys);
  latest.current = keys;
  const names = Object.keys(keys).join(" ");
  useEffect(() => {
    const group = {label, keys: {}};
    for (const [key, given] of Object.entries(latest.current)) {
      const run = (event) => runOf(latest.current[key])?.(event);
      group.keys[key] = {label: given?.label ?? label, run};
    }
    groups.set([...groups.get(), group]);
    return () => groups.set(groups.get().filter((each) => each !== group));
  }, [names, label]);
}

function runOf(given) {
  return typeof given === "function" ? given : given?.run;
}

/** Return the registered groups, those of the page first. */
export const useKeyGroups = () => [...useStore(groups)].reverse();
