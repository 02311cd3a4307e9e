/**
 * Tells which scripts differ from their short form in more than spaces, line breaks and the names of end tags: by the
 * parser of node, without its places and what may be assigned to, and by the elements that htm makes of the templates.
 */
"use strict";

const {parse} = require("internal/deps/acorn/acorn/dist/acorn");
const {pathToFileURL} = require("url");

const isMarkup = (value) => value?.type === "TaggedTemplateExpression" && value.tag.name === "html";

/** The elements of a template; what it has of expressions are their trees. */
function elementsOf({quasi}, html) {
  const texts = Object.assign(quasi.quasis.map(({value}) => value.cooked), {raw: []});
  return {elements: html(texts, ...quasi.expressions)};
}

function treeOf(source, html) {
  try {
    const tree = parse(source, {ecmaVersion: "latest", sourceType: "module"});
    return JSON.stringify(tree, (name, value) => {
      if (["start", "end"].includes(name) || name.startsWith("__")) return undefined;
      if (typeof value === "bigint") return String(value);
      if (name === "kind" && value === "const") return "let";
      return isMarkup(value) ? elementsOf(value, html) : value;
    });
  } catch (fault) {
    return fault.message;
  }
}

async function main() {
  const {html} = await import(pathToFileURL(process.argv[2]));
  const pairs = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const differ = Object.keys(pairs).filter((name) => treeOf(pairs[name][0], html) !== treeOf(pairs[name][1], html));
  console.log(JSON.stringify(differ));
}

main();
