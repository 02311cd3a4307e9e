/** A problem: the answer of a request that failed, as RFC 9457 has it, or no answer at all. */

export class ProblemError extends Error {
  /**
   * @param {number} status 0: there was no answer.
   * @param {object} document The problem document, or what there is of one.
   * @param {number|null} retryAfterS Seconds after which a repetition makes sense.
   */
  constructor(status, document = {}, retryAfterS = null) {
    super(document.detail || document.title || `HTTP ${status}`);
    this.name = "Problem";
    this.status = status;
    this.slug = String(document.type ?? "").split("/").pop() || (status === 0 ? "unreachable" : null);
    this.title = document.title ?? `HTTP ${status}`;
    this.detail = document.detail ?? null;
    this.errors = Array.isArray(document.errors) ? document.errors : [];
    this.retryAfterS = document.retry_after_s ?? retryAfterS;
    this.document = document;
  }
}

/** Return the problem of an answer. */
export async function problemOf(response) {
  let document = {};
  try {
    document = await response.json();
  } catch {
    document = {title: response.statusText || `HTTP ${response.status}`};
  }
  const after = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  return new ProblemError(response.status, document ?? {}, Number.isFinite(after) ? after : null);
}
