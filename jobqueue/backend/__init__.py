"""The Backend port, and the backend that keeps the jobs in memory."""
