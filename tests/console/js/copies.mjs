/** Prints the texts that the console offers to copy for a job, as JSON: the input is `{job, args, spec, files, url, keys}`. */

import {snippetsOf, submissionOf, warningsOf} from "../../../jobqueue/http/console/data/snippets.js";

let input = "";
for await (const chunk of process.stdin) input += chunk;
const {job, args, spec, files, url, keys} = JSON.parse(input);
const submission = submissionOf(job, args, spec, files);
process.stdout.write(JSON.stringify({...snippetsOf(submission, url, keys), warnings: warningsOf(submission)}));
