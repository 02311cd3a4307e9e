"""The process's first instants: signals, standard descriptors, PID 1. Leaves, imported before all else."""
