"""The harness detects incorrect pages, shown on examples."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.expected import are_among, is_shown, statuses_of, wrong_statuses
from tests.docs.page import ROOT, BadPage, Page, slug_of
from tests.docs.reader import Ports, Reader
from tests.docs.references import broken_links, missing_paths, missing_targets, unknown_names, unknown_settings


def page_of(text: str) -> Page:
    return Page(ROOT / "docs" / "how-to" / "example.md", text)


def follow(text: str, folder: Path) -> None:
    with Reader(page_of(text), folder) as reader:
        reader.follow()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# A page\n\n```\nls\n```\n", "example.md:3: a block in no language"),
        ("```cobol\nSTOP RUN.\n```\n", "example.md:1: a block in cobol"),
        ("\n```sh\nls\n```\n", "example.md:2: a block that is neither run nor output"),
        ("```python\nprint(1)\n```\n", "neither run nor output"),
        ("```text\n1\n```\n", "neither run nor output"),
        ("```sh runs\nls\n```\n", "after sh may stand"),
        ("```sh not run:\nls\n```\n", "without a reason"),
        ("Text\n\n    ls\n", "example.md:3: an indented block"),
        ("<!-- docs: stopp -->\n", "a hidden instruction that tests/docs doesn't know"),
    ],
)
def test_a_block_without_a_known_check_raises_bad_page_with_page_and_line(text: str, message: str) -> None:
    with pytest.raises(BadPage, match=message):
        _ = page_of(text).blocks


@pytest.mark.parametrize(
    "text",
    [
        "```sh run\nfalse\n```\n",
        "```sh run\nfalse | true\n```\n",
        "```sh run\necho 1\n```\n\n```text output\n2\n```\n",
        "```text output\n2\n```\n",
        "```python run\nraise SystemExit(1)\n```\n",
        "```python not run: needs fastapi\ndef (:\n```\n",
        "```python file=a.py\nfrom jobqueue import Nothing\n```\n",
        "```json\n{'a': 1}\n```\n",
        '```json job\n{"id": "1"}\n```\n',
        '```json submission\n{"type": "echo", "colour": "red"}\n```\n',
        "```yaml\nserver:\n  porrt: 8080\n```\n",
        "```nginx\nserver { listen 80; \n```\n",
        "```nginx\nlisten 80\n```\n",
        "```caddy\nexample.com {\n```\n",
        "```ini\n[Unit\n```\n",
        pytest.param(
            "```ini\n[Unit]\n[Service]\nExecStart=/bin/x\nKillMod=mixed\n```\n",
            marks=pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"),
        ),
        "```dockerfile\nFORM python\n```\n",
        '```dockerfile\nCMD ["jobqueue", serve]\n```\n',
        pytest.param(
            "```js\nconst a = ;\n```\n", marks=pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
        ),
        pytest.param(
            "```go\npackage main\nvar  a = 1\n```\n",
            marks=pytest.mark.skipif(shutil.which("gofmt") is None, reason="needs gofmt"),
        ),
        "```sh make\nmake no-such-target\n```\n",
        "```sh make\nmake run-clients CLIENT=5\n```\n",
        "```sh serve\njobqueue serve nothing.py\n```\n",
    ],
)
def test_an_incorrect_block_fails_with_page_and_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"^docs/how-to/example\.md:\d+: "):
        follow(text, tmp_path)


def test_the_blocks_of_a_page_share_folder_variables_and_server(tmp_path: Path) -> None:
    follow(
        """
```python file=tasks.py
from jobqueue import JobQueue

queue = JobQueue()


@queue.handler
async def double(value: int) -> int:
    return 2 * value
```

```sh serve
jobqueue serve tasks.py
```

```sh run
NAME=double
mkdir folder && cd folder
```

```sh run
ls .. | grep tasks
curl -i http://127.0.0.1:8080/v1/jobs \\
  -H 'Content-Type: application/json' -H 'Prefer: wait=5' -d '{"type":"'$NAME'","args":{"value":4}}'  # 200
curl http://127.0.0.1:8080/v1/jobs/nope   # 404
```

```text output
tasks.py
HTTP/1.1 200 OK
…
{…"result":8,…}
{…"status":404,…}
```

<!-- docs: stop -->

```text log
… INFO server.listening host=127.0.0.1 port=8080 …
… INFO server.stopped …
```
""",
        tmp_path,
    )


def test_a_curl_with_an_unexpected_status_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="curl 1 was answered with 404, not less than 400"):
        follow("```sh run\ncurl http://127.0.0.1:8080/nope\n```\n", tmp_path)


def test_a_hidden_setup_applies_to_the_next_python_block_only(tmp_path: Path) -> None:
    setup = "<!-- docs: setup python\nvalue = 1\n-->\n\n```python run\nprint(value)\n```\n\n```text output\n1\n```\n\n"
    follow(setup, tmp_path)
    (again := tmp_path / "again").mkdir()
    with pytest.raises(AssertionError, match="NameError"):
        follow(setup + "```python run\nprint(value)\n```\n", again)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a", "a\n", True),
        ("a", "a\nb\n", False),
        ("a…c", "abbbc\n", True),
        ("a…c", "ab\nbc\n", False),
        ("a\n…\nd", "a\nb\nc\nd\n", True),
        ("a\n…\nd", "a\nd\n", True),
        ("a\n…\nd", "a\nb\nc\n", False),
        ("…\nd", "a\r\nd\r\n", True),
        ("a.c", "abc\n", False),
    ],
)
def test_an_ellipsis_matches_text_within_a_line_or_whole_lines(shown: str, printed: str, same: bool) -> None:
    assert is_shown(shown, printed) is same


def test_log_lines_must_be_in_order() -> None:
    assert are_among("b …\nd", "a\nb 1\nc\nd\n")
    assert not are_among("d\nb …", "a\nb 1\nc\nd\n")


def test_the_expected_status_of_a_curl_is_the_comment_of_its_line() -> None:
    script = "# curl 1\ncurl a \\\n  -d '# 2'  # 202\nID=$(curl b)\ncurl c && curl d # 410: gone\n"
    assert statuses_of(script) == [202, None, None, 410]
    assert wrong_statuses(script, [202, 200, 304, 410]) == ""
    assert "curl 4 was answered with 200, not 410" in wrong_statuses(script, [202, 200, 304, 200])
    assert "curl 5 was answered with 500" in wrong_statuses(script, [202, 200, 304, 200, 500])


def test_ports_of_a_page_are_replaced_and_restored() -> None:
    ports = Ports()
    text = "http://127.0.0.1:8080/v1 localhost:8080 --port 8081 --port=8082 listen 8000; port: 8083 8,080 of 8084"
    replaced = ports.replace(text)
    assert replaced.count("808") == 1
    assert "8000" not in replaced
    assert ports.restore(replaced) == text


def test_missing_references_are_reported_with_page_and_line() -> None:
    document = page_of(
        "# A `title`, twice\n\n# A title twice\n\n[a](nothing.md) [b](files.md#nothing) [c](#a-title-twice-1) "
        "[d](https://example.com/x.md)\n\n"
        "`docs/none.md` `core/none.py` `tests/docs` `and/or` `make nothing` `make test`\n"
    )
    assert [fault.split(": ", 2)[:2] for fault in broken_links(document)] == [
        ["docs/how-to/example.md:5", "no such file"],
        ["docs/how-to/example.md:5", "no such heading"],
    ]
    assert list(missing_paths(document)) == [
        "docs/how-to/example.md:7: no such path: docs/none.md",
        "docs/how-to/example.md:7: no such path: core/none.py",
    ]
    settings = page_of(
        "`server.port` `server.porrt` `queues.default.workers: 4` `queues.<name>.worker` `server.listening`"
    )
    assert [fault.rsplit(" ", 1)[1] for fault in unknown_settings(settings)] == ["server.porrt", "queues.<name>.worker"]
    names = page_of("`jobqueue.testing` `jobqueue.testing.inline(queue)` `jobqueue.nothing` `jobqueue.testing.nothing`")
    assert [fault.rsplit(" ", 1)[1] for fault in unknown_names(names)] == [
        "jobqueue.nothing",
        "jobqueue.testing.nothing",
    ]
    assert list(missing_targets(document)) == ["docs/how-to/example.md:7: no such target: make nothing"]


def test_slug_of_a_heading_is_that_of_github() -> None:
    assert slug_of("What's left, and `why`: 2 of 3_a") == "whats-left-and-why-2-of-3_a"
