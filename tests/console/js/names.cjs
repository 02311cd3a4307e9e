/**
 * Tells of each module, by the parser of node, the names that it uses and does not have, those that it has and does not
 * use, and those that it declares as `const` and assigns to.
 */
"use strict";

const {parse} = require("internal/deps/acorn/acorn/dist/acorn");

const FUNCTIONS = ["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"];
const OWN_SCOPE = ["BlockStatement", "ForStatement", "ForOfStatement", "ForInStatement", "CatchClause", "SwitchStatement", "StaticBlock"];

const isNode = (value) => typeof value?.type === "string";
const childrenOf = (node) => Object.values(node).flat().filter(isNode);

/** The identifiers that a pattern binds. */
function boundBy(pattern) {
  if (!pattern) return [];
  if (pattern.type === "Identifier") return [pattern];
  if (pattern.type === "AssignmentPattern") return boundBy(pattern.left);
  if (pattern.type === "RestElement") return boundBy(pattern.argument);
  if (pattern.type === "ArrayPattern") return pattern.elements.flatMap(boundBy);
  if (pattern.type === "ObjectPattern") return pattern.properties.flatMap((each) => boundBy(each.value ?? each.argument));
  return []; // a member: nothing new
}

const hasRest = (pattern) => pattern.properties?.at(-1)?.type === "RestElement";

/** The names of one module, by scopes: each a map of its names to `{kind, uses}`. */
class Names {
  constructor(source) {
    this.found = {absent: new Set(), assigned: new Set(), unused: []};
    this.exported = new Set();
    this.scope({type: "Program", ...parse(source, {ecmaVersion: "latest", sourceType: "module"})}, []);
  }

  /** Visit what is in a scope of its own, after all that it declares. */
  scope(node, outer, parameters = []) {
    const names = new Map(parameters.map(({name}) => [name, {kind: "parameter", uses: 1}]));
    const scopes = [...outer, names];
    for (const each of childrenOf(node)) this.declare(each, names);
    for (const each of childrenOf(node)) this.visit(each, scopes);
    for (const [name, {uses}] of names) if (!uses && !this.exported.has(name)) this.found.unused.push(name);
  }

  declare(node, names) {
    // Names beside a rest are there to be left out of it.
    const put = (pattern, kind) => boundBy(pattern).forEach(({name}) => names.set(name, {kind, uses: Number(hasRest(pattern))}));
    if (node.type === "VariableDeclaration") node.declarations.forEach(({id}) => put(id, node.kind));
    else if (["FunctionDeclaration", "ClassDeclaration"].includes(node.type)) put(node.id, "function");
    else if (node.type === "ImportDeclaration") node.specifiers.forEach(({local}) => put(local, "import"));
    else if (/^Export(Named|Default)Declaration$/.test(node.type) && node.declaration) {
      const before = new Set(names.keys());
      this.declare(node.declaration, names);
      for (const name of names.keys()) if (!before.has(name)) this.exported.add(name);
    }
  }

  visit(node, scopes) {
    if (FUNCTIONS.includes(node.type)) {
      const own = node.type === "FunctionExpression" && node.id ? [node.id] : [];
      this.scope({...node, id: null}, scopes, [...node.params.flatMap(boundBy), ...own]);
    } else if (OWN_SCOPE.includes(node.type)) this.scope(node, scopes, boundBy(node.param));
    else if (node.type === "Identifier") this.use(node.name, scopes);
    else if (node.type === "MemberExpression") this.parts(node, scopes, "object", node.computed && "property");
    else if (node.type === "Property") this.parts(node, scopes, node.computed && "key", "value");
    else if (["MethodDefinition", "PropertyDefinition"].includes(node.type)) this.parts(node, scopes, node.computed && "key", "value");
    else if (node.type === "VariableDeclarator") this.bound(node, scopes);
    else if (node.type === "AssignmentExpression") this.assigned(node.left, scopes), this.parts(node, scopes, "left", "right");
    else if (node.type === "UpdateExpression") this.assigned(node.argument, scopes), this.visit(node.argument, scopes);
    else if (node.type === "ExportNamedDeclaration" && !node.source) this.parts(node, scopes, "declaration");
    else if (node.type === "LabeledStatement") this.visit(node.body, scopes);
    else if (["ClassDeclaration", "ClassExpression"].includes(node.type)) this.parts(node, scopes, "superClass", "body");
    else if (!/^(Import|Export\w+)Declaration$|^(Break|Continue)Statement$|^MetaProperty$/.test(node.type) || node.type === "ExportDefaultDeclaration") {
      childrenOf(node).forEach((each) => this.visit(each, scopes));
    }
  }

  parts(node, scopes, ...names) {
    for (const name of names) if (name && isNode(node[name])) this.visit(node[name], scopes);
  }

  /** A declaration: its names are no uses, but the values by default in its pattern may have some. */
  bound(node, scopes) {
    this.defaults(node.id, scopes);
    this.parts(node, scopes, "init");
  }

  defaults(pattern, scopes) {
    if (pattern.type === "AssignmentPattern") this.visit(pattern.right, scopes), this.defaults(pattern.left, scopes);
    else if (pattern.type === "Property" && pattern.computed) this.visit(pattern.key, scopes), this.defaults(pattern.value, scopes);
    else if (pattern.type === "Property") this.defaults(pattern.value, scopes);
    else if (pattern.type !== "Identifier") childrenOf(pattern).forEach((each) => this.defaults(each, scopes));
  }

  use(name, scopes) {
    const found = scopes.findLast((names) => names.has(name))?.get(name);
    if (found) found.uses += 1;
    else this.found.absent.add(name);
  }

  assigned(target, scopes) {
    for (const {name} of boundBy(target)) {
      const kind = scopes.findLast((names) => names.has(name))?.get(name).kind;
      if (kind === "const" || kind === "import") this.found.assigned.add(name);
    }
  }
}

const sources = JSON.parse(require("fs").readFileSync(0, "utf8"));
const told = Object.entries(sources).map(([name, source]) => {
  const {absent, assigned, unused} = new Names(source).found;
  return [name, {absent: [...absent], assigned: [...assigned], unused}];
});
console.log(JSON.stringify(Object.fromEntries(told)));
