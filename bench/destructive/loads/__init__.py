"""The loads: programs that send requests to one server on loopback, bounded in count and time, and print a tally."""
