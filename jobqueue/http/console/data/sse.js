/** Server-sent events: reads the text of a stream into events, as WHATWG's HTML standard has it. */

const LINE_MAX = 1 << 20;

/** Collects the lines of a stream; `feed` takes text as it comes and returns the events that are complete. */
export class EventReader {
  /** @param {{asText: boolean}} [options] `asText`: data is handed over as the text that came. */
  constructor({asText = false} = {}) {
    this.asText = asText;
    this.lastId = null;
    this.retryMs = null;
    this.rest = "";
    this.name = "";
    this.data = [];
  }

  /** @returns {{id: string|null, name: string, data: any}[]} `data` is parsed where it is JSON, unless it is to be text. */
  feed(text) {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    if (this.rest.length > LINE_MAX) throw new RangeError("a line of the stream is too long");
    const events = [];
    for (const line of lines) {
      if (line === "") this.end(events);
      else this.field(line);
    }
    return events;
  }

  field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "id") this.lastId = value;
    else if (name === "event") this.name = value;
    else if (name === "data") this.data.push(value);
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }

  end(events) {
    const text = this.data.join("\n");
    if (this.data.length) events.push({id: this.lastId, name: this.name || "message", data: this.asText ? text : parsed(text)});
    this.name = "";
    this.data = [];
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
