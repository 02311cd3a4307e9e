"""Behaviours of simulated clients: one module for each way to follow a job."""
