"""Scheduling: the order among queues and among jobs, queue state, ETA and Retry-After."""
