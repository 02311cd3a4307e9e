"""Open requests: the event log for streams, and the bound of waiting requests."""
