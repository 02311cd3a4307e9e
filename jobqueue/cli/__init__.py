"""The command line: its commands, its parser, and the target of `serve`."""
