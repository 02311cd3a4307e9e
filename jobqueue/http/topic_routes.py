"""The routes of topics. Part of the table in `routes`."""

from __future__ import annotations

from jobqueue import errors
from jobqueue.http.errors import InvalidRequest, MalformedRequest, TooManyLongPolls
from jobqueue.http.resources.topics import PublicationDocument, Publish, TopicsDocument
from jobqueue.http.route import EVENT_STREAM, JSON_TYPE, Answer, Body, Route
from jobqueue.http.streams.topic_event import TopicEventDocument

TOPICS = "/v1/topics"

TOPIC_ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path=f"{TOPICS}/{{topic}}",
        name="publish",
        scope="submit",
        summary="Publishes data: makes one job for each subscriber of the topic, all of them or none",
        handler=lambda resources: resources.topics.publish,
        expect=lambda resources: resources.topics.expect,
        body=Body(Publish),
        headers=("Idempotency-Key", "traceparent"),
        answers=(
            Answer(
                202,
                PublicationDocument,
                JSON_TYPE,
                ("Job-Deduplicated",),
                when="The jobs are held; there are none without a subscriber",
            ),
        ),
        problems=(
            MalformedRequest,
            InvalidRequest,
            errors.InvalidSubmission,
            errors.KeyReused,
            errors.RateLimited,
            errors.NotInStore,
            errors.QueueFull,
            errors.TypeQuarantined,
            errors.StatusesFull,
            errors.Overloaded,
            errors.Draining,
            errors.JournalFull,
            errors.JournalFailed,
        ),
    ),
    Route(
        method="GET",
        path=f"{TOPICS}/{{pattern}}/events",
        name="listen",
        scope="read",
        summary="What is published to the topics that match, from now on, at most once",
        handler=lambda resources: resources.topics.listen,
        headers=("Last-Event-ID",),
        answers=(
            Answer(200, TopicEventDocument, EVENT_STREAM, headers=("X-Accel-Buffering",), when="The stream of events"),
        ),
        problems=(MalformedRequest, errors.NotInStore, TooManyLongPolls),
    ),
    Route(
        method="GET",
        path=TOPICS,
        name="list_topics",
        scope="read",
        summary="Answers with the subscribers and listeners by their patterns, and with counts",
        handler=lambda resources: resources.topics.all,
        answers=(Answer(200, TopicsDocument, JSON_TYPE, when="The subscribers and the counts"),),
    ),
)
