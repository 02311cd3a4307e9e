"""The locust ramp: up to 15,000 users, and what both sides saw."""
