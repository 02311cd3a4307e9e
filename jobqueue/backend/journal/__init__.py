"""The journal: a log of a queue's events in a folder, from which the next process goes on."""
