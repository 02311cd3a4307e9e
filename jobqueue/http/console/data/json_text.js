/**
 * JSON as text: a tree of the values that keeps what JavaScript's own values lose.
 *
 * Rules:
 *
 * 1. Numbers are the digits of the text: `12345678901234567890`, `1.0` and `1e400` stay what they are.
 * 2. Members keep their order, and the same name may come twice.
 * 3. A value knows its place in the text. Strings are decoded when they are shown, so that a long one costs nothing before.
 * 4. No depth of nesting overflows the stack: the parser keeps its own.
 */

/**
 * @typedef {object} JsonNode
 * @property {"object"|"array"|"string"|"number"|"true"|"false"|"null"} kind
 * @property {number} start Where it begins in the text.
 * @property {number} end Where it ends.
 * @property {{key: string|null, node: JsonNode}[]} [items] Of an object or an array; `key` is null in an array.
 */

const SCALAR = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null/y;
const SPACE = /[ \t\n\r]*/y;

/** Parse a JSON text. @returns {JsonNode} @throws {SyntaxError} With the place of the fault. */
export function parseJson(text) {
  const open = [];
  let at = 0;
  const skip = () => {
    SPACE.lastIndex = at;
    SPACE.exec(text);
    at = SPACE.lastIndex;
  };
  const expected = (what) => new SyntaxError(`at character ${at + 1}: ${what} is expected`);
  const scalar = () => {
    const first = text[at];
    if (first === '"') return {kind: "string", start: at, end: (at = endOfString(text, at, expected))};
    SCALAR.lastIndex = at;
    const match = SCALAR.exec(text);
    if (!match) throw expected("a value");
    const kind = match[0] === "true" || match[0] === "false" || match[0] === "null" ? match[0] : "number";
    return {kind, start: at, end: (at += match[0].length)};
  };
  const member = (into) => {
    if (into.kind === "array") return null;
    if (text[at] !== '"') throw expected("a name in quotes");
    const start = at;
    at = endOfString(text, at, expected);
    const key = JSON.parse(text.slice(start, at));
    skip();
    if (text[at] !== ":") throw expected("a colon");
    at += 1;
    skip();
    return key;
  };
  for (;;) {
    skip();
    const parent = open.at(-1);
    const key = parent ? member(parent) : null;
    let node;
    if (text[at] === "{" || text[at] === "[") {
      node = {kind: text[at] === "{" ? "object" : "array", start: at, end: at, items: []};
      at += 1;
      skip();
    } else node = scalar();
    parent?.items.push({key, node});
    if (node.items) {
      open.push(node);
      if (text[at] !== "}" && text[at] !== "]") continue;
    }
    for (;;) {
      skip();
      const inner = open.at(-1);
      if (!inner) {
        if (at < text.length) throw expected("the end");
        return node;
      }
      const closing = inner.kind === "object" ? "}" : "]";
      if (text[at] === closing) {
        at += 1;
        inner.end = at;
        node = open.pop();
      } else if (text[at] === "," && inner.items.length) {
        at += 1;
        break;
      } else throw expected(`a comma or ${closing}`);
    }
  }
}

/** Return where a string ends; found without a pattern, which a long string would overflow. */
function endOfString(text, start, expected) {
  for (let at = start + 1; ; ) {
    const quote = text.indexOf('"', at);
    if (quote < 0) throw expected("the end of a string");
    let escapes = 0;
    while (text[quote - 1 - escapes] === "\\") escapes += 1;
    if (escapes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

/** Return the text of a string node, of a long one only its beginning, and whether that is all. */
export function stringOf(text, node, max = Infinity) {
  const length = node.end - node.start - 2;
  if (length <= max) return {value: JSON.parse(text.slice(node.start, node.end)), whole: true};
  const head = text.slice(node.start + 1, node.start + 1 + max).replace(/(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?$/, "$1");
  return {value: JSON.parse(`"${head}"`), whole: false};
}

/** Return the member of an object by its name (the last one of them, as the server reads it), or null. */
export function memberOf(node, name) {
  return node?.items?.findLast(({key}) => key === name)?.node ?? null;
}

/** Yield the pieces of a node in order: `open`, `key`, `scalar`, `comma` and `close`, without recursion. */
export function* piecesOf(node) {
  const stack = [{node, key: null, index: -1}];
  while (stack.length) {
    const top = stack.at(-1);
    if (!top.node.items) {
      yield {piece: "scalar", node: top.node};
      stack.pop();
      continue;
    }
    if (top.index < 0) yield {piece: "open", node: top.node, depth: stack.length};
    top.index += 1;
    if (top.index >= top.node.items.length) {
      yield {piece: "close", node: top.node, depth: stack.length};
      stack.pop();
      continue;
    }
    const {key, node: child} = top.node.items[top.index];
    if (top.index) yield {piece: "comma", depth: stack.length};
    if (key !== null) yield {piece: "key", key};
    stack.push({node: child, index: -1});
  }
}

/** Write a string as JSON in which nothing is invisible: controls, marks of direction and lone surrogates are escaped. */
export function quoted(value) {
  const written = JSON.stringify(value).replace(/[\u{e0000}-\u{e0fff}]/gu, (each) => each.replace(/[^]/g, escaped));
  return written.replace(/[\u007f-\u00a0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g, escaped);
}

function escaped(character) {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Write a node as JSON on one line; numbers as they are. */
export function compact(text, node) {
  let written = "";
  for (const piece of piecesOf(node)) {
    if (piece.piece === "key") written += `${quoted(piece.key)}:`;
    else if (piece.piece === "comma") written += ",";
    else if (piece.piece === "scalar") written += scalarText(text, piece.node);
    else written += bracket(piece);
  }
  return written;
}

/** Write a node as JSON on many lines. */
export function indented(text, node) {
  let written = "";
  const line = (depth) => `\n${"  ".repeat(Math.min(depth, 32))}`;
  for (const piece of piecesOf(node)) {
    if (piece.piece === "key") written += `${quoted(piece.key)}: `;
    else if (piece.piece === "comma") written += `,${line(piece.depth)}`;
    else if (piece.piece === "scalar") written += scalarText(text, piece.node);
    else if (!piece.node.items.length) written += bracket(piece);
    else written += piece.piece === "open" ? bracket(piece) + line(piece.depth) : line(piece.depth - 1) + bracket(piece);
  }
  return written;
}

/** Return a scalar as it is written in JSON. */
export function scalarText(text, node) {
  const raw = text.slice(node.start, node.end);
  return node.kind === "string" ? quoted(JSON.parse(raw)) : raw;
}

function bracket({piece, node}) {
  if (node.kind === "object") return piece === "open" ? "{" : "}";
  return piece === "open" ? "[" : "]";
}
