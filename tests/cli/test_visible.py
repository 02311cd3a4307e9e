"""Texts of a server on a terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue.cli.terminal.table import Column, plain
from jobqueue.cli.terminal.times import since
from jobqueue.cli.terminal.visible import visible, visible_json, visible_lines, width_of
from jobqueue.duration import spell


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 日本 ü", "naïve 日本 ü"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\ue000", "\\ue000"),
        ("\U000e0041", "\\U000e0041"),
        ("e\u0301\u0301\u0301", "e\u0301\u0301\\u0301"),
    ],
)
def test_control_and_invisible_characters_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert visible("x" * 10, 5) == "xxxx…"
    assert len(visible_lines("line\n" * 1000, lines_max=10)) == 11


def test_json_keeps_its_value() -> None:
    text = json.dumps({"a": "\x9b\u202e\u2028ü"}, ensure_ascii=False)
    assert json.loads(visible_json(text)) == json.loads(text)
    assert "\x9b" not in visible_json(text)


def test_a_plain_table_aligns_wide_characters() -> None:
    columns = (Column("name", lambda row: row[0]), Column("n", lambda row: row[1], right=True))
    assert list(plain(columns, [("日本", "1"), ("abcde", "22")])) == ["name    n", "日本    1", "abcde  22"]
    assert width_of("日本e\u0301") == 5


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (float("nan"), ""),
        (-1.0, "0 ms"),
        (0.035, "35 ms"),
        (0.35, "0.3 s"),
        (9.96, "10 s"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (100_000, "1 d 3 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, words: str) -> None:
    assert spell(seconds) == words


def test_an_instant_ahead_of_this_clock_is_now() -> None:
    assert since(datetime.now(UTC) + timedelta(hours=1)) == "0 ms"
