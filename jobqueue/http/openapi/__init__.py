"""The description of the API in OpenAPI. It is imported by the first request for it: other servers pay nothing."""

from jobqueue.http.openapi.document import describe

__all__ = ["describe"]
