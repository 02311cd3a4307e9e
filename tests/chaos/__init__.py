"""Chaos: real servers with a journal are killed at random instants, and what they promised is audited."""
