"""The speed benches: what requests, jobs, operations and records cost."""
