"""Restarts of a server with a journal, under load: what clients see of them."""
