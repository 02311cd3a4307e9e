"""Destruction: a server in 256 MB and half a CPU under loads that ought to break it, and the point where one does."""
