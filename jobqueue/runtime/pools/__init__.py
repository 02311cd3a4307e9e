"""Pools for blocking handlers: threads, and processes from a fork server."""
