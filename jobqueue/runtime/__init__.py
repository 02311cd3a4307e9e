"""The asyncio side: workers and their supervisor, offloads, the timer, the spool, the loop monitor."""
