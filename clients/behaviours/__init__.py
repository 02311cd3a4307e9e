"""What simulated clients do: one module for each way to follow a job."""
