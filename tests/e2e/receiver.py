"""A receiver of webhooks in a process of its own: checks each signature with the reference library.

    python -m tests.e2e.receiver SECRET ANSWER…

It prints its port, then a JSON document for each request. Answers are statuses, `STATUS:RETRY_AFTER`, `redirect` or
`silence`, in turn; the last one again and again.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

SILENT_S = 60.0


class Receiver(BaseHTTPRequestHandler):
    """One request."""

    webhook: Webhook
    answers: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            event = self.webhook.verify(body, dict(self.headers))
        except WebhookVerificationError as error:
            event = {"error": str(error)}
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        told = {"path": self.path, "id": self.headers["webhook-id"], "answer": answer, "event": event}
        print(f"{json.dumps(told)}\n", end="", flush=True)  # in one write: another request may print, too
        if answer == "silence":
            time.sleep(SILENT_S)
            return
        status, _, after = answer.partition(":")
        self.send_response(302 if status == "redirect" else int(status))
        if status == "redirect":
            self.send_header("Location", "/redirected")
        if after:
            self.send_header("Retry-After", after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: standard error is not read."""


if __name__ == "__main__":
    Receiver.webhook, Receiver.answers = Webhook(sys.argv[1]), sys.argv[2:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
