"""The scenarios of destruction, a module each."""
