"""What a fleet shows while it runs."""

from __future__ import annotations

import io

from clients.counters import Counts
from clients.display import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_each_second_is_a_line() -> None:
    file = io.StringIO()
    with Display(10, file) as display:
        counts = Counts(clients=4, answers=100, ended=20, accepted=30)
        display.show(1.0, counts, "creating")
        counts.answers, counts.ended = 350, 25
        display.show(3.0, counts, "finishing")

    first, second = file.getvalue().splitlines()
    assert first.split("  ")[-5:] == ["jobs done/s 20", "refused/s 0", "jobs live 10", "jobs ended 20", "errors 0"]
    assert "clients 4 of 10  requests/s 125  jobs done/s 2" in second  # since the line before


def test_on_a_terminal_it_is_one_picture_that_goes_away() -> None:
    file = Terminal()
    with Display(10, file) as display:
        display.show(1.0, Counts(clients=4), "creating")
        display.say("stopping")

    assert "4 of 10" in file.getvalue()
    assert "stopping" in file.getvalue()
    assert "\x1b[2K" in file.getvalue()  # it was erased


def test_a_server_that_has_gone_is_told_while_it_is_gone() -> None:
    file = io.StringIO()
    with Display(10, file) as display:
        display.show(1.0, Counts(answers=1), "creating")
        display.show(2.0, Counts(answers=1, unreachable=3), "creating")
        display.show(3.0, Counts(answers=1, unreachable=3, unreadable_gone=5), "finishing")
        display.show(4.0, Counts(answers=9, unreachable=3, unreadable_gone=5), "finishing")

    told = [line.split("  clients")[0].split(" s  ")[1] for line in file.getvalue().splitlines()]
    gone = "no server listens"
    assert told == ["creating", f"creating; {gone}", f"finishing; {gone}", "finishing"]
