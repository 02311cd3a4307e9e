/** A store: a value that components read, and redraw with when it changes. */

import {useLayoutEffect, useState} from "../ui.js";

/** Make a store; `set` with the same value changes nothing. */
export function createStore(initial) {
  let value = initial;
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener(value);
    },
    update(changes) {
      this.set({...value, ...changes});
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Return a store's value; the component is drawn again when it changes. */
export function useStore(store) {
  const [, redraw] = useState(null);
  const value = store.get();
  useLayoutEffect(() => {
    const look = () => redraw({});
    if (!Object.is(store.get(), value)) look();
    return store.subscribe(look);
  }, [store]);
  return value;
}
