/** Drawing: a component that is fed faster than it is to be drawn. */

import {useRef, useState} from "../ui.js";

const EVERY_MS = 250;

/** Return a drawing of the component that is asked for any number of times, and happens at most four times a second. */
export function useDrawing() {
  const [, redraw] = useState(null);
  const timer = useRef(null);
  const ask = () => {
    timer.current ??= setTimeout(() => {
      timer.current = null;
      redraw({});
    }, EVERY_MS);
  };
  return {ask};
}
