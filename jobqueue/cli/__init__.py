"""The command line: its commands, its parser, and how the target of `serve` is found."""
