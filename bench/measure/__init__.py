"""The machine, meters of processes, spreads and pictures: what every bench measures with."""
