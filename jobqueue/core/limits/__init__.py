"""Limits on running jobs: limiters of rate and concurrency, and the circuit breaker."""
