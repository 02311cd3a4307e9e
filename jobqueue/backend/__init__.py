"""The port between the shell and whoever keeps the jobs, and the backend that keeps them in memory."""
