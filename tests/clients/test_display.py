"""The progress display of a fleet."""

from __future__ import annotations

import io

from clients.counters import Counts
from clients.display import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_display_writes_one_line_per_update_without_a_terminal() -> None:
    file = io.StringIO()
    with Display(10, file) as display:
        counts = Counts(clients=4, answers=100, ended=20, accepted=30)
        display.show(1.0, counts, "creating")
        counts.answers, counts.ended = 350, 25
        display.show(3.0, counts, "finishing")

    first, second = file.getvalue().splitlines()
    assert first.split("  ")[-5:] == ["jobs done/s 20", "refused/s 0", "jobs live 10", "jobs ended 20", "errors 0"]
    assert "clients 4 of 10  requests/s 125  jobs done/s 2" in second  # since the previous line


def test_the_display_redraws_one_transient_screen_on_a_terminal() -> None:
    file = Terminal()
    with Display(10, file) as display:
        display.show(1.0, Counts(clients=4), "creating")
        display.say("stopping")

    assert "4 of 10" in file.getvalue()
    assert "stopping" in file.getvalue()
    assert "\x1b[2K" in file.getvalue()  # it was erased


def test_the_display_reports_an_unreachable_server_until_it_responds_again() -> None:
    file = io.StringIO()
    with Display(10, file) as display:
        display.show(1.0, Counts(answers=1), "creating")
        display.show(2.0, Counts(answers=1, unreachable=3), "creating")
        display.show(3.0, Counts(answers=1, unreachable=3, unreadable_gone=5), "finishing")
        display.show(4.0, Counts(answers=9, unreachable=3, unreadable_gone=5), "finishing")

    shown = [line.split("  clients")[0].split(" s  ")[1] for line in file.getvalue().splitlines()]
    gone = "no server listens"
    assert shown == ["creating", f"creating; {gone}", f"finishing; {gone}", "finishing"]
