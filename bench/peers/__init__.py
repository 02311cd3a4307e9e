"""What the server is measured beside: the same job done by others. Each tells `port N` once it listens."""
