"""Open requests: the event log that streams replay, and the requests that wait."""
