"""A media pipeline as a flow: upload, transcode to three formats, join, notify.

It needs the `audio` extra (soundfile, soxr, numpy). Serve it with

    python -m jobqueue serve examples/media.py:queue

upload a WAV, FLAC or OGG file, and submit the flow that comes after it:

    curl -F job='{"type":"upload"}' -F audio=@speech.wav http://127.0.0.1:8080/v1/jobs
    python examples/media.py ID

The result files go from job to job as paths: none of them is copied by the queue.
"""

import json
import logging
import shutil
import sys
import zipfile
from typing import Any

from examples.audio import queue, transcoded
from jobqueue import Graph, JobContext, Reject, flow

FORMATS = {"speech": ("flac", 16_000, 1), "music": ("ogg", 48_000, None), "archive": ("wav", None, None)}
"""The name of each version, with its format, rate and channels; None keeps what the file has."""

log = logging.getLogger(__name__)


@queue.handler
def upload(ctx: JobContext) -> dict[str, Any]:
    """Keep the uploaded file `audio` as the result, for the jobs that come after."""
    file = ctx.files.get("audio")
    if file is None:
        raise Reject("no audio: send the file as the part 'audio' of a multipart form")
    shutil.copyfile(file, ctx.result_file(file.media_type))
    return {"filename": file.filename, "size_bytes": file.size_bytes}


@queue.handler(run_in="process", timeout_s=3600)
def version(ctx: JobContext, format: str, rate: int | None = None, channels: int | None = None) -> dict[str, Any]:
    """Transcode the file of the job before."""
    (source,) = ctx.parents.values()
    assert source.file is not None, "an upload keeps its file"
    return {**transcoded(ctx, source.file, rate, channels, format), "format": format}


@queue.handler(timeout_s=3600)
def join(ctx: JobContext) -> dict[str, Any]:
    """Put all versions into one archive."""
    with zipfile.ZipFile(ctx.result_file("application/zip"), "w") as archive:
        for name, parent in ctx.parents.items():
            assert parent.file is not None, "a version is a file"
            archive.write(parent.file, f"{name}.{parent.result['format']}")
    return {name: parent.result["duration_s"] for name, parent in ctx.parents.items()}


@queue.handler
async def notify(ctx: JobContext, recipient: str) -> str:
    """Tell that the archive is there; a real one would send a message."""
    durations = ctx.parents["join"].result
    log.info("%s: %d versions are ready", recipient, len(durations))
    return f"{recipient}: {', '.join(sorted(durations))}"


def pipeline(upload_id: str, recipient: str) -> Graph:
    """Return the graph of all that comes after an upload."""
    graph = flow()
    versions = [
        graph.job("version", {"format": format, "rate": rate, "channels": channels}, name=name, after=[upload_id])
        for name, (format, rate, channels) in FORMATS.items()
    ]
    joined = graph.job("join", after=versions)
    graph.job("notify", {"recipient": recipient}, after=joined)
    return graph


if __name__ == "__main__":
    from jobqueue.client import SyncClient

    client = SyncClient("http://127.0.0.1:8080")
    submitted = client.submit_flow(pipeline(sys.argv[1], "editor@example.com"))
    print(json.dumps(client.wait_flow(submitted.id).counts))
