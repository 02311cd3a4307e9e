/** The states of jobs, in the order of a life. */
export const STATES = ["waiting", "delayed", "queued", "running", "succeeded", "failed", "cancelled", "expired"];
