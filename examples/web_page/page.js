/** The page: it submits the chosen file, follows its job, and shows the result. */

import { Client, JobQueueError } from "./jobqueue.js";

const client = new Client("/jobs"); // where app.py mounts the API
const element = (id) => document.getElementById(id);
const STATES = {
  delayed: "Waiting",
  queued: "Waiting",
  running: "Running",
  succeeded: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
  expired: "Not started in time",
};

let current = null; // the job that the page follows: its id, once it has one, and what ends the requests

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = element("file").files;
  const own = (current = { id: null, leaving: new AbortController() });
  begin();
  try {
    await follow(own, file);
  } catch (error) {
    if (!own.leaving.signal.aborted) show("Failed", error instanceof JobQueueError ? error.message : String(error));
  } finally {
    element("start").disabled = false;
    element("cancel").hidden = true;
  }
});

element("cancel").addEventListener("click", async () => {
  if (current.id === null) {
    current.leaving.abort(); // it is still being uploaded
    show("Cancelled", "");
  } else {
    await client.cancel(current.id).catch((error) => show("Failed", error.message)); // its end comes as an event
  }
});

element("file").addEventListener("change", () => {
  const [file] = element("file").files;
  element("name").textContent = file ? `${file.name} (${file.size.toLocaleString("en")} bytes)` : "Choose a file, or drop one here";
});

async function follow(own, table) {
  const { signal } = own.leaving;
  // Rejected for now (a full queue), or sent over a connection that breaks: it is sent again, under the same key.
  const job = await client.submit({ type: "summarize" }, { files: { table }, retryForS: 60, signal });
  own.id = job.id;
  let last = null;
  for await (last of client.progress(job.id, { signal })) show(STATES[last.state], last.note ?? "", last.fraction);
  if (last.state === "succeeded") await showResult(job.id, signal);
  if (last.state === "failed") show("Failed", (await client.get(job.id, { signal })).error.message);
}

function begin() {
  element("start").disabled = true;
  element("cancel").hidden = false;
  element("job").hidden = false;
  element("result").hidden = true;
  show("Uploading", "");
}

function show(state, note, fraction = null) {
  element("state").textContent = state;
  element("note").textContent = note;
  const bar = element("bar");
  bar.classList.toggle("over", ["Failed", "Cancelled"].includes(state));
  if (fraction !== null) bar.value = fraction;
  else if (state === "Uploading" || state === "Waiting") bar.removeAttribute("value"); // it moves, and says no number
  else if (state !== "Running" && !bar.hasAttribute("value")) bar.value = 0;
}

async function showResult(id, signal) {
  const text = await (await client.download(id, { signal })).text();
  const lines = text.trim().split(/\r?\n/).slice(1);
  const rows = lines.map((line) => {
    const at = line.lastIndexOf(",");
    const row = document.createElement("tr");
    row.append(cell(unquoted(line.slice(0, at))), cell(number(line.slice(at + 1))));
    return row;
  });
  element("rows").replaceChildren(...rows);
  element("download").href = `${client.url}/v1/jobs/${id}/result`;
  element("result").hidden = false;
}

function unquoted(text) {
  return text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text;
}

function number(text) {
  return text === "" ? "-" : Number(text).toLocaleString("en", { maximumFractionDigits: 6 });
}

function cell(text) {
  const made = document.createElement("td");
  made.textContent = text;
  return made;
}
