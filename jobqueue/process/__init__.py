"""Process start-up: signals, standard descriptors, PID 1. Leaves, imported before all else."""
