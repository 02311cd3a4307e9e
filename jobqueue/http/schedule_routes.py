"""The routes of schedules. Part of the table in `routes`."""

from __future__ import annotations

from jobqueue import errors
from jobqueue.handlers.schedule_submission import ScheduleSubmission
from jobqueue.http.errors import InvalidRequest, MalformedRequest
from jobqueue.http.resources.schedules import SchedulesQuery
from jobqueue.http.response.job_document import JobDocument
from jobqueue.http.response.schedule_document import ScheduleDocument, SchedulesDocument
from jobqueue.http.route import JSON_TYPE, Answer, Body, Route

SCHEDULES = "/v1/schedules"
SCHEDULE = "/v1/schedules/{name}"

ONE = Answer(200, ScheduleDocument, JSON_TYPE, when="The schedule")

CHANGE = (errors.ScheduleNotFound, errors.NotInStore, errors.JournalFailed)
"""The problems of a change."""

SCHEDULE_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=SCHEDULES,
        name="list_schedules",
        scope="read",
        summary="Answers with a page of schedules, by name",
        handler=lambda resources: resources.schedules.all,
        query=SchedulesQuery,
        answers=(Answer(200, SchedulesDocument, JSON_TYPE, when="A page"),),
        problems=(MalformedRequest,),
    ),
    Route(
        method="GET",
        path=SCHEDULE,
        name="get_schedule",
        scope="read",
        summary="Answers with the schedule and its next instants",
        handler=lambda resources: resources.schedules.one,
        answers=(ONE,),
        problems=(errors.ScheduleNotFound,),
    ),
    Route(
        method="PUT",
        path=SCHEDULE,
        name="put_schedule",
        scope="operate",
        further_scope="submit",
        summary="Adds a schedule, or replaces it: its counts and its pause stay",
        handler=lambda resources: resources.schedules.put,
        body=Body(ScheduleSubmission),
        answers=(Answer(201, ScheduleDocument, JSON_TYPE, when="The schedule is new"), ONE),
        problems=(errors.ScheduleFixed, InvalidRequest, errors.NotInStore, errors.JournalFailed),
    ),
    Route(
        method="DELETE",
        path=SCHEDULE,
        name="delete_schedule",
        scope="operate",
        summary="Deletes a schedule; its jobs stay",
        handler=lambda resources: resources.schedules.delete,
        answers=(Answer(204, when="The schedule is deleted"),),
        problems=(*CHANGE, errors.ScheduleFixed),
    ),
    Route(
        method="POST",
        path=f"{SCHEDULE}:run",
        name="run_schedule",
        scope="operate",
        summary="Submits its job now, beside its ticks, as its overlap allows",
        handler=lambda resources: resources.schedules.run,
        answers=(
            Answer(
                202, JobDocument, JSON_TYPE, ("Job-State", "ETag", "Retry-After"), when="The job that was submitted"
            ),
        ),
        problems=(
            errors.ScheduleNotFound,
            errors.Duplicate,
            errors.RateLimited,
            errors.QueueFull,
            errors.TypeQuarantined,
            errors.StatusesFull,
            errors.Draining,
            errors.JournalFull,
            errors.JournalFailed,
        ),
    ),
    Route(
        method="POST",
        path=f"{SCHEDULE}:pause",
        name="pause_schedule",
        scope="operate",
        summary="Has the schedule give no ticks until `:resume` or, without a journal, a restart",
        handler=lambda resources: resources.schedules.pause,
        answers=(ONE,),
        problems=CHANGE,
    ),
    Route(
        method="POST",
        path=f"{SCHEDULE}:resume",
        name="resume_schedule",
        scope="operate",
        summary="Has the schedule give ticks again, and those since the pause that its `catch_up` says",
        handler=lambda resources: resources.schedules.resume,
        answers=(ONE,),
        problems=CHANGE,
    ),
)
