"""The asyncio side: workers and their supervisor, pools, timer, spool, loop monitor."""
