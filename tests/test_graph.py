"""The builders of flows: what graph they make, by names and parents."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from jobqueue.graph import Graph, chain, flow, group


def parents(graph: Graph) -> dict[str, list[str]]:
    return {job["name"]: job["after"] for job in graph.jobs}


def test_a_chain_starts_each_part_after_the_one_before_it() -> None:
    graph = chain("fetch", {"type": "resize", "args": {"width": 128}}, "store")
    assert parents(graph) == {"fetch": [], "resize": ["fetch"], "store": ["resize"]}
    assert graph.jobs[1]["args"] == {"width": 128}


def test_a_group_between_two_jobs_fans_out_and_joins() -> None:
    graph = chain("fetch", group("small", "large"), "store")
    assert parents(graph) == {"fetch": [], "small": ["fetch"], "large": ["fetch"], "store": ["small", "large"]}


def test_jobs_of_one_type_get_numbers() -> None:
    graph = chain(group("resize", "resize", "resize"), "store")
    assert parents(graph) == {"resize": [], "resize-2": [], "resize-3": [], "store": ["resize", "resize-2", "resize-3"]}


def test_a_graph_that_is_put_into_another_one_twice_is_two_copies() -> None:
    part = chain("fetch", "resize")
    graph = group(part, part)
    assert parents(graph) == {"fetch": [], "resize": ["fetch"], "fetch-2": [], "resize-2": ["fetch-2"]}
    assert parents(part) == {"fetch": [], "resize": ["fetch"]}


def test_a_part_keeps_its_own_name_and_its_options() -> None:
    graph = chain("fetch", {"type": "resize", "name": "thumbnail", "on_failure": "run", "attempts_max": 3})
    assert graph.jobs[1] == {
        "name": "thumbnail",
        "type": "resize",
        "args": {},
        "after": ["fetch"],
        "on_failure": "run",
        "attempts_max": 3,
    }


def test_a_flow_is_filled_job_by_job() -> None:
    graph = flow()
    fetched = graph.job("fetch", {"url": "a"})
    large = graph.job("resize", {"width": 1024}, name="large", after=fetched)
    graph.job("store", after=[fetched, large])
    assert parents(graph) == {"fetch": [], "large": ["fetch"], "store": ["fetch", "large"]}
    assert (graph.first(), graph.last()) == (["fetch"], ["store"])


def test_a_name_of_a_flow_is_given_once() -> None:
    graph = flow()
    graph.job("fetch", name="a")
    with pytest.raises(ValueError, match="has a job 'a' already"):
        graph.job("store", name="a")


def test_a_graph_after_a_job_that_exists_still_comes_after_the_part_before_it() -> None:
    later = flow()
    later.job("resize", after=["0aB000000-1c3FfGhIjKlM"])
    assert parents(chain("fetch", later)) == {"fetch": [], "resize": ["fetch", "0aB000000-1c3FfGhIjKlM"]}


def test_an_empty_group_in_a_chain_joins_its_neighbours() -> None:
    assert parents(chain("fetch", group(), "store")) == {"fetch": [], "store": ["fetch"]}


@pytest.mark.parametrize("part", [3, None, {"args": {}}, ["fetch"]])
def test_a_value_that_is_no_part_of_a_graph_is_refused(part: object) -> None:
    with pytest.raises(TypeError, match="a part of a graph is a type, a mapping with a type, or a graph"):
        chain("fetch", part)  # type: ignore[arg-type]  # what a caller without types may pass


def test_a_graph_is_encoded_with_durations_in_seconds() -> None:
    graph = chain({"type": "fetch", "timeout_s": timedelta(minutes=1)})
    assert orjson.loads(graph.encoded()) == {
        "jobs": [{"name": "fetch", "type": "fetch", "args": {}, "after": [], "timeout_s": 60.0}]
    }


def test_a_thousand_jobs_of_one_type_are_numbered_in_one_pass() -> None:
    names = [job["name"] for job in group(*["resize"] * 1000).jobs]
    assert (names[0], names[1], names[-1], len(set(names))) == ("resize", "resize-2", "resize-1000", 1000)


def test_numbers_go_on_where_graphs_are_put_together() -> None:
    graph = chain("resize", group("resize", {"type": "crop", "name": "resize"}), "resize")
    assert [job["name"] for job in graph.jobs] == ["resize", "resize-2", "resize-3", "resize-4"]
