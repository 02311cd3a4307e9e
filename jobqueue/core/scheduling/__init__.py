"""Which job is next: the queues' turns, the disciplines, and what a queue's state tells."""
