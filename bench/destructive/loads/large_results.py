"""Jobs with results of nearly the maximum size, for attacks that ask for them."""

from __future__ import annotations

import aiohttp

HOSTILE = "127.0.0.2"
"""The address that attacks come from: another caller than the honest client. All of 127.0.0.0/8 is loopback."""


async def large_jobs(url: str, count: int = 30, ttl_s: float = 3600) -> list[str]:
    """Run such jobs, of the hostile caller; return their ids."""
    ids = []
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(local_addr=(HOSTILE, 0))) as http:
        for _ in range(count):
            job = {"type": "echo", "args": {"a": "x" * 900_000}, "ttl_s": ttl_s}
            async with http.post("/v1/jobs", json=job) as response:
                assert response.status == 202, await response.text()
                ids.append((await response.json())["id"])
        for job_id in ids:
            async with http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=10"}) as response:
                assert (await response.json())["state"] == "succeeded"
    return ids
