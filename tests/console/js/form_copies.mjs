/** Prints the texts to copy for a submission of a form, as JSON: from `{type, args, options, url, keys}` on standard input. */

import {parse} from "../../../jobqueue/http/console/data/exact_json.js";
import {snippetsOf} from "../../../jobqueue/http/console/data/snippets.js";
import {snippetOf} from "../../../jobqueue/http/console/data/submission.js";

let given = "";
for await (const piece of process.stdin) given += piece;
const {type, args, options, url, keys} = parse(given);
process.stdout.write(JSON.stringify(snippetsOf(snippetOf(type, {args, options, files: []}), url, keys)));
