/** The clock: the viewer's, ticking once a second while it is read and the tab is shown. */

import {createStore, useStore} from "./store.js";
import {visible} from "./visibility.js";
import {useEffect} from "../ui.js";

const seconds = createStore(Date.now());
let readers = 0;
let timer = null;

function look() {
  const wanted = readers > 0 && visible.get();
  if (wanted && timer === null) timer = setInterval(() => seconds.set(Date.now()), 1000);
  if (!wanted && timer !== null) {
    clearInterval(timer);
    timer = null;
  }
  if (wanted) seconds.set(Date.now());
}

visible.subscribe(look);

/** Return the time in milliseconds; the component is drawn again each second. */
export function useNow() {
  useEffect(() => {
    readers += 1;
    look();
    return () => {
      readers -= 1;
      look();
    };
  }, []);
  return useStore(seconds);
}
