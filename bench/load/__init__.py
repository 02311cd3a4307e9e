"""The load generator, and a bench's hand on the processes that it measures."""
