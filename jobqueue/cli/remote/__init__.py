"""Commands that ask a running server, by the client: the server's packages need not be installed."""
