"""Submissions of flows: the order of a graph, and the faults that a graph may have."""

from __future__ import annotations

import random
from typing import Any

import pytest

from jobqueue.errors import FAULTS_MAX, InvalidSubmission
from jobqueue.handlers.flow_submission import NamedSubmission, flow_of, parents_first


def job(name: str, *after: str, **options: Any) -> NamedSubmission:
    return NamedSubmission(type="echo", name=name, after=[*after], **options)


def faults(*jobs: NamedSubmission) -> dict[str, str]:
    with pytest.raises(InvalidSubmission) as raised:
        parents_first(jobs)
    return {fault.pointer: fault.detail for fault in raised.value.errors}


def test_parents_come_before_their_children() -> None:
    order = parents_first([job("c", "a", "b"), job("b", "a"), job("a")])
    assert order.positions == [2, 1, 0]
    assert order.parents == [(2, 1), (2,), ()]


def test_a_parent_outside_of_the_flow_is_given_by_its_id() -> None:
    order = parents_first([job("b", "a", "0aB000000-1c3FfGhIjKlM"), job("a", "0aB000000-1c3FfGhIjKlM")])
    assert order.parents == [(1,), ()]
    assert order.outside == [("0aB000000-1c3FfGhIjKlM",), ("0aB000000-1c3FfGhIjKlM",)]


@pytest.mark.parametrize("seed", range(50))
def test_every_graph_without_a_cycle_has_an_order(seed: int) -> None:
    rng = random.Random(seed)  # draws graphs
    count = rng.randint(1, 60)
    ranks = rng.sample(range(count), count)
    jobs = []
    for number in range(count):
        earlier = [each for each in range(count) if ranks[each] < ranks[number]]
        after = rng.sample(earlier, rng.randint(0, min(5, len(earlier))))
        jobs.append(job(str(number), *map(str, after)))
    order, parents, _ = parents_first(jobs)
    assert sorted(order) == list(range(count))
    places = {number: place for place, number in enumerate(order)}
    assert all(places[parent] < places[number] for number in range(count) for parent in parents[number])


@pytest.mark.parametrize("seed", range(50))
def test_every_graph_with_a_cycle_is_refused_at_an_edge_of_it(seed: int) -> None:
    rng = random.Random(seed)  # draws graphs
    count = rng.randint(2, 40)
    after: list[list[str]] = [[str(each) for each in range(number) if rng.random() < 0.2] for number in range(count)]
    first, last = sorted(rng.sample(range(count), 2))
    for number in range(first, last):  # a path down from the first, and an edge back
        if str(number) not in after[number + 1]:
            after[number + 1].append(str(number))
    after[first].append(str(last))
    (pointer,) = faults(*(job(str(number), *names) for number, names in enumerate(after)))
    _, _, number, _, place = pointer.split("/")
    edge = (int(after[int(number)][int(place)]), int(number))
    assert is_on_a_cycle(after, *edge)


def is_on_a_cycle(after: list[list[str]], parent: int, child: int) -> bool:
    seen, ahead = set(), [parent]
    while ahead:
        number = ahead.pop()
        if number not in seen:
            seen.add(number)
            ahead.extend(map(int, after[number]))
    return child in seen


def test_a_cycle_has_the_names_of_its_jobs() -> None:
    told = faults(job("a", "c"), job("b", "a"), job("c", "b"), job("d", "c"))
    assert told == {"/jobs/0/after/0": "a cycle of 3 jobs, b → c → a → b: none of them could ever start"}


def test_a_long_cycle_has_its_first_names() -> None:
    ((_, detail),) = faults(*(job(f"j{number}", f"j{(number + 1) % 1000}") for number in range(1000))).items()
    assert detail.startswith("a cycle of 1000 jobs, j1 → j0 → j999 → ") or "…" in detail
    assert len(detail) < 200


def test_a_job_cannot_come_after_itself() -> None:
    assert faults(job("a", "a")) == {"/jobs/0/after/0": "a job can't come after itself"}


def test_an_unknown_name_is_a_fault_at_its_place() -> None:
    assert faults(job("a"), job("b", "a", "x")) == {
        "/jobs/1/after/1": "no job of this flow has the name 'x', and it is no id of a job"
    }


def test_a_parent_is_named_once() -> None:
    assert faults(job("a"), job("b", "a", "a")) == {"/jobs/1/after/1": "'a' is named twice"}


def test_a_name_is_given_once() -> None:
    told = faults(job("a"), job("b"), job("a"))
    assert told == {"/jobs/2/name": "'a' is the name of job 0, too: each job has a name of its own"}


def test_all_faults_of_a_graph_come_at_once() -> None:
    told = faults(job("a", "a"), job("b", "x", "a", "x"), job("c", unique="one"))
    assert set(told) == {"/jobs/0/after/0", "/jobs/1/after/0", "/jobs/1/after/2", "/jobs/2/unique"}


def test_of_many_faults_the_first_ones_are_found() -> None:
    told = faults(*(job(f"j{number}", *["nothing"] * 500) for number in range(1000)))
    assert len(told) == FAULTS_MAX


def test_an_id_outside_of_the_flow_is_named_once() -> None:
    outside = "0aB000000-1c3FfGhIjKlM"
    assert faults(job("a", outside, outside)) == {"/jobs/0/after/1": f"{outside!r} is named twice"}


def test_a_flow_of_python_values_has_its_faults_at_their_places() -> None:
    with pytest.raises(InvalidSubmission) as raised:
        flow_of({"jobs": [{"type": "echo", "name": "a"}, {"type": "echo", "name": "b c"}]})
    assert raised.value.errors[0].pointer == "/jobs/1/name"


def test_a_flow_has_at_most_a_thousand_jobs() -> None:
    with pytest.raises(InvalidSubmission) as raised:
        flow_of({"jobs": [{"type": "echo", "name": str(number)} for number in range(1001)]})
    assert raised.value.errors[0].pointer == "/jobs"
