"""What if: the real engine under a virtual clock, on the measured arrivals and run times of a queue."""
