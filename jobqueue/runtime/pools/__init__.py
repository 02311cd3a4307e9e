"""Pools for blocking handlers: threads, and processes forked by a server of their own."""
