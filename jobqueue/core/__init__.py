"""The pure ground: no event loop, no clock, no chance, no I/O. Time and chance come in as arguments."""
