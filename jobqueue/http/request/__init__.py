"""Requests: parsing and checks of heads, bodies and fields."""
