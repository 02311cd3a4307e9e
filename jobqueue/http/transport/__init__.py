"""Connections: accepting, reading, sending and cutting them, and the fast path."""
