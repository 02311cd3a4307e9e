"""Pauses: a paused queue starts no job until it is resumed, or its pause is over."""

from __future__ import annotations

from random import Random

from jobqueue.core.events import Paused, Resumed
from jobqueue.core.job import JobState
from jobqueue.core.pause import Pause
from jobqueue.core.policy import Discipline, QueuePolicy
from tests.core.making import Driver


def driver_of(*names: str) -> Driver:
    return Driver(queues={name: QueuePolicy() for name in names or ("default",)})


def pause_of(driver: Driver, queue: str = "default") -> Pause | None:
    return driver.engine.stats(driver.now)[1][list(driver.engine.queue_states).index(queue)].pause


def test_a_pause_has_its_begin_its_reason_its_end_and_its_caller() -> None:
    driver = driver_of()
    driver.engine.pauses.begin("default", reason="deploy", for_s=60.0, by="key:ops", now=driver.now)
    assert pause_of(driver) == Pause(since=driver.now, reason="deploy", until=driver.now + 60.0, by="key:ops")
    driver.note_events()
    (paused,) = driver.of(Paused)
    assert isinstance(paused, Paused)
    assert (paused.queue, paused.pause) == ("default", pause_of(driver))


def test_a_queue_resumes_by_itself_when_its_pause_is_over() -> None:
    driver = driver_of()
    job = driver.submit()
    driver.engine.pauses.begin("default", for_s=60.0, now=driver.now)
    assert driver.engine.next_at() == driver.now + 60.0, "the engine's deadlines include it"
    driver.advance(59.9)
    assert driver.start_next() is None
    assert pause_of(driver) is not None
    driver.advance(0.2)
    assert pause_of(driver) is None
    assert driver.start_next() is job
    assert [event.by for event in driver.of(Resumed) if isinstance(event, Resumed)] == [None]
    assert driver.engine.pauses.at is None


def test_a_pause_without_an_end_lasts_until_it_is_ended() -> None:
    driver = driver_of()
    driver.submit()
    driver.engine.pauses.begin("default", now=driver.now)
    assert driver.engine.pauses.at is None
    driver.advance(1e6)
    assert driver.start_next() is None
    driver.engine.pauses.end("default", by="key:ops")
    assert driver.start_next() is not None
    driver.note_events()
    assert [event.by for event in driver.of(Resumed) if isinstance(event, Resumed)] == ["key:ops"]


def test_a_pause_that_was_ended_before_its_end_leaves_no_deadline() -> None:
    driver = driver_of()
    driver.engine.pauses.begin("default", for_s=60.0, now=driver.now)
    driver.engine.pauses.end("default")
    assert driver.engine.next_at() is None
    driver.engine.pauses.begin("default", now=driver.now)
    driver.advance(61.0)
    assert pause_of(driver) is not None, "the end of the former pause does not end this one"


def test_a_second_pause_replaces_reason_and_end_and_keeps_the_begin() -> None:
    driver, began = driver_of(), 0.0
    began = driver.now
    driver.engine.pauses.begin("default", reason="one", for_s=60.0, now=driver.now)
    driver.advance(10.0)
    driver.engine.pauses.begin("default", reason="two", for_s=600.0, now=driver.now)
    assert pause_of(driver) == Pause(since=began, reason="two", until=driver.now + 600.0)
    driver.advance(100.0)
    assert pause_of(driver) is not None
    driver.engine.pauses.begin("default", now=driver.now)
    assert pause_of(driver) == Pause(since=began)


def test_a_resume_of_a_running_queue_is_no_event() -> None:
    driver = driver_of()
    driver.engine.pauses.end("default")
    driver.note_events()
    assert driver.of(Resumed) == []


def test_a_change_of_the_policy_leaves_the_pause() -> None:
    driver = driver_of()
    driver.submit()
    driver.engine.pauses.begin("default", reason="deploy", for_s=60.0, now=driver.now)
    before = pause_of(driver)
    driver.engine.set_policy("default", QueuePolicy(workers=7, discipline=Discipline.LIFO), now=driver.now)
    assert pause_of(driver) == before
    assert driver.start_next() is None


def test_pauses_of_queues_end_in_their_own_time() -> None:
    driver = driver_of("a", "b", "c")
    for name, for_s in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        driver.engine.pauses.begin(name, for_s=for_s, now=driver.now)
    ended = []
    for _ in range(3):
        driver.advance(10.0)
        ended.append([name for name in "abc" if pause_of(driver, name) is None])
    assert ended == [["b"], ["b", "c"], ["a", "b", "c"]]


def test_random_pauses_agree_with_a_model() -> None:
    """A queue is paused exactly while the latest pause has neither been ended nor come to its end."""
    rng, driver = Random(7), driver_of("a", "b")
    until: dict[str, float | None] = {"a": 0.0, "b": 0.0}
    for _ in range(3000):
        name, roll = rng.choice("ab"), rng.random()
        if roll < 0.3:
            for_s = rng.choice([None, 0.5, 3.0, 20.0])
            driver.engine.pauses.begin(name, for_s=for_s, now=driver.now)
            until[name] = None if for_s is None else driver.now + for_s
        elif roll < 0.5:
            driver.engine.pauses.end(name)
            until[name] = driver.now
        else:
            driver.advance(rng.choice([0.1, 1.0, 7.0]))
        for each, at in until.items():
            assert driver.engine.queue_states[each].paused == (at is None or at > driver.now)
            assert (pause_of(driver, each) is not None) == driver.engine.queue_states[each].paused
    assert driver.engine.live() == 0


def test_jobs_of_a_paused_queue_keep_their_deadlines() -> None:
    driver = driver_of()
    job = driver.submit(start_by_s=5.0)
    driver.engine.pauses.begin("default", for_s=60.0, now=driver.now)
    driver.advance(6.0)
    assert job.state is JobState.EXPIRED
