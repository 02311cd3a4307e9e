"""The load generator, and control of the measured processes."""
