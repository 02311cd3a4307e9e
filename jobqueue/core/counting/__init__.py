"""Counts: of queues and types since their start, as they are given out, and second by second."""
