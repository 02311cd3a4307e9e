"""Inject every fault of the table, and write what was measured into docs/LIMITS.md: `make faults`.

Rules:

1. Of the rows of one fault, the last of each kind counts (a parametrised test writes several).
2. A fault without a row was not injected here; its cell says so, and the tests' own output has the reason.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.faults.measuring import ROOT, ROWS, machine
from tests.faults.table import FAULTS, Fault

PAGE = ROOT / "docs" / "LIMITS.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
NOT_MEASURED = "not injected on this machine"


def table(rows: dict[str, list[str]]) -> str:
    """Return the section between the marks."""
    lines = [
        f"Measured on {machine()}.",
        "",
        "| Fault | What must hold | Measured | Test |",
        "|---|---|---|---|",
    ]
    lines += [_line(fault, rows.get(name, [])) for name, fault in FAULTS.items()]
    return "\n".join(lines)


def _line(fault: Fault, seen: list[str]) -> str:
    tests = ", ".join(f"`{each}`" for each in fault.tests)
    return f"| {fault.title} | {fault.holds} | {'; '.join(seen) or NOT_MEASURED} | {tests} |"


def measured() -> dict[str, list[str]]:
    """Read the rows that tests have written; a row that is there twice counts once."""
    rows: dict[str, list[str]] = {}
    for line in ROWS.read_text().splitlines():
        row = json.loads(line)
        seen = rows.setdefault(row["fault"], [])
        if row["seen"] not in seen:
            seen.append(row["seen"])
    return rows


def render() -> None:
    """Write the table into its page."""
    head, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert begin, f"{PAGE} has no {BEGIN}"
    assert end, f"{PAGE} has no {END}"
    PAGE.write_text(f"{head}{BEGIN}\n{table(measured())}\n{END}{tail}")


def main() -> int:
    tests = sorted({test for fault in FAULTS.values() for test in fault.tests})
    ROWS.unlink(missing_ok=True)
    # One after the other: the figures are of a machine that does nothing else.
    ran = subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT, check=False)
    render()
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
