/** Colours and patterns of charts, read from the style sheet: of the scheme that is in use, and legible without colour. */

const PATTERN_SIZE = 6;

const HATCHES = {
  failed: [[0, 6, 6, 0]],
  cancelled: [[0, 0, 6, 6]],
  expired: [
    [0, 0, 6, 6],
    [0, 6, 6, 0],
  ],
};

const VARIABLES = {
  running: "--accent",
  succeeded: "--good",
  failed: "--bad",
  cancelled: "--calm",
  expired: "--warn",
  waiting: "--wait",
  delayed: "--later",
  queued: "--calm",
};

/** Return the value of a variable of the style sheet. */
export function variable(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Return the colour of a kind: a state, or a variable such as `--accent`. */
export function colourOf(kind) {
  return variable(VARIABLES[kind] ?? (kind?.startsWith("--") ? kind : "--accent"));
}

/** Return the filling of a kind: its colour, thinned by a hatch of its own. */
export function fillingOf(context, kind) {
  const colour = colourOf(kind);
  const hatch = HATCHES[kind];
  if (!hatch) return withAlpha(colour, 0.55);
  const tile = document.createElement("canvas");
  tile.width = tile.height = PATTERN_SIZE;
  const drawing = tile.getContext("2d");
  drawing.fillStyle = withAlpha(colour, 0.3);
  drawing.fillRect(0, 0, PATTERN_SIZE, PATTERN_SIZE);
  drawing.strokeStyle = colour;
  drawing.lineWidth = 1.4;
  for (const [x0, y0, x1, y1] of hatch) {
    for (const shift of [-PATTERN_SIZE, 0, PATTERN_SIZE]) {
      drawing.beginPath();
      drawing.moveTo(x0 + shift, y0);
      drawing.lineTo(x1 + shift, y1);
      drawing.stroke();
    }
  }
  return context.createPattern(tile, "repeat");
}

/** Return a colour `#rrggbb` with an alpha from 0 to 1. */
export function withAlpha(colour, alpha) {
  return `${colour}${Math.round(alpha * 255).toString(16).padStart(2, "0")}`;
}
