"""Requests: what a head, a body and its fields say, and which are refused."""
