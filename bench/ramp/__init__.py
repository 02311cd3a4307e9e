"""The locust ramp: up to 15,000 users, measured on both sides."""
