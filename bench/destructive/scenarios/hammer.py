"""Hammer: a plain loop of curl submits thousands of transcodes, while jobs keep the CPU busy."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from bench.destructive.loads.sound import wav
from bench.destructive.scenarios.scenario import Outcome, Scenario
from bench.destructive.tally import Tally

if TYPE_CHECKING:
    from bench.destructive.stage import Stage

SCRIPT = "bench/load/curl_storm.sh"
FILE_S = 2
_SUM = re.compile(r"(\d+) submitted = (\d+) accepted \+ (\d+) refused with a reason; (\d+) of the accepted seen to end")
_BARE = re.compile(r"(\d+) refused without Retry-After")
_ANSWERS = re.compile(r"^\s*(\d+) (\d{3})$", re.MULTILINE)


def play(stage: Stage) -> Outcome:
    if shutil.which("curl") is None:
        return Outcome(tally=Tally(), notes=["not run: curl is missing"])
    count, spins, spin_s, seconds = (60, 2, 1, 60) if stage.quick else (2000, 10, 5, 420)
    file = stage.folder / "speech.wav"
    file.write_bytes(b"".join(wav(FILE_S)))
    stress = f'{{"duration_s":{spin_s}}}'
    spinning = [stage.load("honest", 0, "spin", stress, seconds, name="stress") for _ in range(spins)]
    loop = stage.command("hammer", ["sh", SCRIPT, str(file), str(count), stage.server.url])
    code, text = loop.output(seconds)
    tally = read(text)
    if code:
        tally.note_lost(f"the loop ended with {code}: {text[-300:]}")
    for each in spinning:
        tally.add(each.tally(seconds))
    return Outcome(tally=tally, notes=[f"{count:,} transcodes by curl, {spins} stress runs of {spin_s} s"])


def read(text: str) -> Tally:
    """Return the figures that the script printed."""
    found = _SUM.search(text)
    tally = Tally()
    if found is None:
        tally.note_lost(f"the loop printed no sum: {text[-300:]}")
        return tally
    submitted, accepted, _, ended = (int(number) for number in found.groups())
    tally.requests, tally.accepted = submitted, accepted
    tally.answers = {code: int(number) for number, code in _ANSWERS.findall(text.partition("reasons of")[0])}
    tally.ended = {"terminal": ended} if ended else {}
    bare = _BARE.search(text)
    tally.bare_refusals = int(bare[1]) if bare is not None else 0
    return tally


SCENARIO = Scenario(
    name="hammer",
    says="2,000 transcodes by a plain loop of curl, and 10 jobs that keep the CPU busy for 5 s each",
    play=play,
    retention=False,  # the loop asks for the first job when it has submitted the last one
)
