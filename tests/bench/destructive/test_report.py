"""The report, and the published limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.destructive.master import Result
from bench.destructive.report import DESTRUCTION, INPUTS, limits_section, render_limits, replaced, summary, write
from bench.destructive.samples import SampleFile
from bench.destructive.verdict import Bound
from bench.load.driving import ROOT
from tests.bench.destructive.samples_of import samples


def bound(*, kept: bool, seen: str = "7") -> Bound:
    return Bound(what="oom_kill", wanted="0", seen=seen, kept=kept)


def result(name: str, *bounds: Bound, failed: str = "", csv: str = "") -> Result:
    return Result(
        name=name,
        says="what it does",
        confinement="control group",
        bounds=list(bounds),
        failed=failed,
        csv=csv,
        began=102.0,
        ended=108.0,
        notes=["a <note>"],
    )


def test_a_run_without_misses_says_so() -> None:
    assert summary([result("storm", bound(kept=True))]) == "All bounds of 1 scenario were kept."


def test_a_missed_bound_and_a_failed_scenario_are_named() -> None:
    told = summary([result("storm", bound(kept=False)), result("bomb", failed="NotStarted: it ended")])
    assert told.splitlines() == ["2 bounds missed:", "storm: oom_kill: 7", "bomb: NotStarted: it ended"]


def test_a_result_is_kept_only_with_all_its_bounds() -> None:
    assert result("a", bound(kept=True)).kept
    assert not result("a", bound(kept=True), bound(kept=False)).kept
    assert not result("a", failed="it could not be played").kept


def test_the_page_has_plots_red_rows_and_escaped_text(tmp_path: Path) -> None:
    with (tmp_path / "storm.csv").open("w", newline="") as file:
        rows = SampleFile(file)
        for each in samples(30):
            rows.write(each)
    missed = result("storm", bound(kept=False, seen="<7>"), csv=str(tmp_path / "storm.csv"))
    page = write([missed], tmp_path, quick=True, seconds=12).read_text()
    assert '<tr class="missed">' in page
    assert "&lt;7&gt;" in page
    assert "a &lt;note&gt;" in page
    assert "data:image/png;base64," in page
    assert "a part of its size" in page
    assert (tmp_path / "results.json").exists()


def test_a_scenario_without_samples_says_why_it_has_no_plot(tmp_path: Path) -> None:
    (tmp_path / "storm.csv").write_text("a,b\n")
    page = write([result("storm", csv=str(tmp_path / "storm.csv"))], tmp_path, quick=False, seconds=1).read_text()
    assert "no plot: the columns are a, b" in page


def test_the_published_parts_are_replaced_between_their_markers_only(tmp_path: Path) -> None:
    page = tmp_path / "LIMITS.md"
    page.write_text(f"# Limits\n\n{INPUTS[0]}\n{INPUTS[1]}\n\n{DESTRUCTION[0]}\n\nold\n\n{DESTRUCTION[1]}\n\n## More\n")
    render_limits([result("storm", bound(kept=False))], page)
    text = page.read_text()
    assert text.startswith("# Limits\n")
    assert text.endswith(f"{DESTRUCTION[1]}\n\n## More\n")
    assert "old" not in text
    assert "### storm" in text
    assert "**missed**" in text
    assert "request lines" in text
    render_limits([], page)
    assert "### storm" not in page.read_text()
    assert page.read_text().count(DESTRUCTION[0]) == 1


def test_a_page_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="lacks the markers"):
        replaced("# Limits\n", DESTRUCTION, "part")


def test_the_published_limits_can_be_rewritten() -> None:
    text = (ROOT / "docs/LIMITS.md").read_text()
    for markers in (INPUTS, DESTRUCTION):
        assert "new part" in replaced(text, markers, "new part")


def test_a_scenario_that_failed_is_published_as_such() -> None:
    assert "**It could not be played**: NotStarted" in limits_section([result("bomb", failed="NotStarted: x\ny")])
