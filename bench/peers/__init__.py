"""Other servers that do the same job, to be measured beside. Each prints `port N` once it listens."""
