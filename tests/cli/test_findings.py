"""`jobqueue findings`, and `config diff` with a key that sees little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.findings.sight import ProcessCounts
from tests.http.keyed import OPS, READER, auth
from tests.http.resources.test_findings import forget

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.cli.conftest import Run
    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]


async def test_a_server_without_a_critical_finding_is_exit_code_0(run: Run, serving: Serving) -> None:
    ran = await run("findings", "-o", "table")
    assert ran.code == 0
    assert ran.out.startswith("info: The server started ")
    assert "\n    cause: A deploy" in ran.out
    assert "\n    remedy: If it starts again and again" in ran.out


async def test_a_critical_finding_is_exit_code_1(run: Run, start: Start) -> None:
    serving = await start(queues={"default": {"capacity": 1}})
    serving.process.counted = ProcessCounts(connections=5, connections_max=5)
    await forget(serving)
    ran = await run("findings", f"--url={serving.url}")
    assert ran.code == 1
    assert (ran.lines[0]["kind"], ran.lines[0]["severity"]) == ("connections_nearly_full", "critical")
    assert (await run("findings", f"--url={serving.url}", "-o", "id")).out.splitlines()[0] == "connections_nearly_full"
    assert '"findings"' in (await run("findings", f"--url={serving.url}", "-o", "json")).out


async def test_a_diff_without_the_scope_admin_compares_settings_of_queues(run: Run, start: Start) -> None:
    serving = await start(auth=auth(), queues={"default": {"workers": 4}})
    ran = await run("config", "diff", f"--url={serving.url}", f"--key={READER.text}", "--set=queues.default.workers=5")
    assert "only settings of queues are compared" in ran.err
    assert [tuple(each.values()) for each in ran.lines] == [("queues.default.workers", "4", "", "5")]
    whole = await run("config", "diff", f"--url={serving.url}", f"--key={OPS.text}", "--set=queues.default.workers=5")
    assert "only settings of queues" not in whole.err
    assert "limits.files" in whole.out
