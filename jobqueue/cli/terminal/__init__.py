"""The terminal: tables, durations in words, and hostile texts made visible. Knows no command."""
