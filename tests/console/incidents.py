"""Handlers of a staged incident: a type with jobs that all fail, one that is slow, and one that holds the event loop.

    MENDED=/tmp/mended jobqueue serve tests/console/incidents.py

Once the file `MENDED` exists, what they need is mended.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from jobqueue import JobQueue

EXPORT_S = 20.0
HELD_S = 0.8

queue = JobQueue()


def mended() -> bool:
    return Path(os.environ["MENDED"]).exists()


@queue.handler
async def charge_card(customer: int, amount: float) -> dict[str, float]:
    """Charge the card of a customer, at the bank."""
    if not mended():
        raise ConnectionRefusedError(f"connection to bank.example:443 refused, for customer {customer}")
    return {"charged": amount}


@queue.handler
async def export(month: str) -> str:
    """Export the orders of a month."""
    await asyncio.sleep(EXPORT_S)
    return month


@queue.handler
async def resize(image: str) -> str:
    """Resize an image, without a thread."""
    if not mended():
        time.sleep(HELD_S)  # noqa: ASYNC251  # what this handler is there for
    return image


@queue.handler
async def send_mail(to: str) -> str:
    """Send a mail: nothing is wrong with this one."""
    return to
