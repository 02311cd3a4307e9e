"""The fleet: simulated clients that submit jobs over HTTP and follow each one until it is terminal.

It imports nothing of jobqueue but `jobqueue.client`.
"""
