/** Tells which scripts differ from their other form in more than spaces: by the parser of node, without its places. */
"use strict";

const {parse} = require("internal/deps/acorn/acorn/dist/acorn");

function treeOf(source) {
  try {
    const tree = parse(source, {ecmaVersion: "latest", sourceType: "module"});
    return JSON.stringify(tree, (name, value) => (name === "start" || name === "end" ? undefined : typeof value === "bigint" ? String(value) : value));
  } catch (fault) {
    return fault.message;
  }
}

const pairs = JSON.parse(require("fs").readFileSync(0, "utf8"));
const differ = Object.keys(pairs).filter((name) => treeOf(pairs[name][0]) !== treeOf(pairs[name][1]));
console.log(JSON.stringify(differ));
