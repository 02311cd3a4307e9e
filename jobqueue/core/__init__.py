"""The pure core: no event loop, clock, randomness or I/O. Time and the random generator are arguments."""
