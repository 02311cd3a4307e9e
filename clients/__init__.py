"""The fleet: simulated clients that submit jobs over HTTP and follow each one until it is over.

It imports nothing of jobqueue but `jobqueue.client`: what it sees is what any client sees.
"""
