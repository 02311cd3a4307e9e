"""Schedules of a queue: what defines one, and what submits their jobs."""
