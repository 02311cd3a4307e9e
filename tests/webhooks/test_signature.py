"""Signatures, beside the reference library of Standard Webhooks."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from jobqueue.webhooks.signature import keys_of, signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@given(key=st.binary(min_size=24, max_size=64), body=st.text(max_size=200))
def test_a_signature_is_that_of_the_reference_library(key: bytes, body: str) -> None:
    secret, at = "whsec_" + base64.b64encode(key).decode(), 1_700_000_000
    made = signature(keys_of(secret), "msg_1", at, body.encode())
    assert made == Webhook(secret).sign("msg_1", datetime.fromtimestamp(at, UTC), body)


def test_two_secrets_sign_both_so_that_a_receiver_may_check_either() -> None:
    now = int(datetime.now(UTC).timestamp())
    signed = signature(keys_of(f"{SECRET} {OTHER}"), "msg_1", now, b"{}")
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signed}
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify("{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(bytes(24)).decode()).verify("{}", headers)


@pytest.mark.parametrize(
    "secret",
    [
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_AAAA",
        "whsec_" + "A" * 100,
        "whsec_!" + "B" * 31,
        f"{SECRET} {SECRET} {SECRET}",
        f"{SECRET}  {SECRET}",
    ],
)
def test_a_text_that_is_no_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^") as fault:
        keys_of(secret)
    assert secret.removeprefix("whsec_")[:4] not in str(fault.value)
