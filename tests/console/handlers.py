"""Handlers of a staged server: of each way in which a job may end, and with hostile texts."""

from __future__ import annotations

import asyncio
import base64
import datetime
from typing import Annotated, Any, Literal

import msgspec

from jobqueue import JobContext, JobQueue, Reject, Retry

HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe\x00\x1b[31m\u200b"
"""Markup, a character that turns the direction of the text, a NUL, an escape of terminals, and one without width."""

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGMwaPgPAAKTAbCN+Ty9AAAAAElFTkSuQmCC")
"""A picture of one pixel."""

WAV = (
    b"RIFF\x44\x03\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
    + bytes.fromhex("401f0000401f00000100080064617461")
    + b"\x20\x03\x00\x00"
    + bytes(800)
)
"""A tenth of a second of silence."""

CONTENTS = {"image/png": PNG, "audio/wav": WAV}

queue = JobQueue()


@queue.handler
async def thumbnail(image: str, width: int = 200, format: Literal["png", "webp"] = "webp") -> dict[str, Any]:
    """Make a small picture of a large one."""
    return {"image": image, "size": [width, width * 2 // 3], "format": format}


@queue.handler(redact=("password",))
async def report(ctx: JobContext, customer: str, password: str = "", steps: int = 10) -> dict[str, Any]:
    """Write the report of a customer, step by step."""
    for step in range(steps):
        ctx.progress(step / steps, f"page {step + 1} of {steps}")
    return {"customer": customer, "pages": steps}


@queue.handler(timeout_s=86_400.0)
async def hold(ctx: JobContext, note: str = "half of it is done") -> None:
    """Run until it is cancelled."""
    ctx.progress(0.5, note)
    await asyncio.Event().wait()


@queue.handler
async def send_mail(to: str, subject: str = "") -> None:
    """Send a mail; the server of mails is down."""
    raise ConnectionRefusedError(f"connection to mail.example:25 refused, {len(to)} bytes for {to}")


@queue.handler(attempts_max=3)
async def charge(amount: float, customer: int) -> None:
    """Charge a customer; the bank is slow, and wants another attempt."""
    raise Retry(3600.0)


@queue.handler
async def check(value: Any = None) -> None:
    """Reject what it is given."""
    raise Reject(f"{value!r} can't be used")


@queue.handler(timeout_s=0.05)
async def slow() -> None:
    """Take longer than its timeout."""
    await asyncio.Event().wait()


@queue.handler
async def hostile(**args: Any) -> dict[str, Any]:
    """<b>Bold</b> words, and a failure of the same kind."""
    if args.get("fails"):
        raise ValueError(HOSTILE)
    return {HOSTILE: args}


@queue.handler
def drawing(ctx: JobContext, media_type: str = "image/png") -> None:
    """Write a file of a media type."""
    ctx.result_file(media_type).write_bytes(CONTENTS.get(media_type, b"<script>alert(1)</script>"))


class Line(msgspec.Struct):
    sku: str
    count: Annotated[int, msgspec.Meta(ge=1, le=99, description="pieces")] = 1


class Card(msgspec.Struct, tag="card"):
    number: str


class Invoice(msgspec.Struct, tag="invoice"):
    days: int = 30


class Order(msgspec.Struct):
    id: int
    total: float = 0.0


@queue.handler(redact=("secret",))
async def order(
    customer: int,
    lines: list[Line],
    payment: Card | Invoice,
    gift: bool = False,
    deliver: datetime.date | None = None,
    notes: dict[str, Any] | None = None,
    secret: str = "",
) -> dict[str, Any]:
    """Take an order; that of customer 0 is rejected."""
    if customer == 0:
        raise Reject("customer 0 may not order")
    return {"customer": customer, "lines": lines, "payment": payment}


@queue.on("order.paid", "order.cancelled", attempts_max=3)
async def send_invoice(data: Order) -> str:
    """Write an invoice for an order."""
    return f"invoice for order {data.id}"


@queue.on("order.>", "user.*")
async def audit(topic: str, data: Any) -> str:
    """Keep what was published."""
    return topic


@queue.cron("0 3 * * MON-FRI", tz="Europe/Berlin", jitter_s=60)
@queue.cron("7 4 L * *", name="month-end", args={"scope": "all"}, overlap="queue", catch_up="all")
@queue.handler
async def tidy(scope: str = "old") -> str:
    """Tidy up."""
    return scope


@queue.handler
async def sizes(ctx: JobContext) -> dict[str, int]:
    """Return the size of each file."""
    return {name: ctx.files[name].size_bytes for name in ctx.files}
