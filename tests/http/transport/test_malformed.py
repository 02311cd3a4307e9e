"""Malformed requests: their answers don't repeat the key that a broken header holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.http.serving import CLOSE, Answer

if TYPE_CHECKING:
    from tests.http.serving import Serving

SECRET = "a2b3c4d5" * 6 + "e6f7"
KEY = f"jq_k3v7tq2m_{SECRET}"


@pytest.mark.parametrize(
    "head",
    [
        f"GET /livez HTTP/1.1\r\nAuthorization : Bearer {KEY}\r\n",
        f"GET /livez HTTP/1.1\r\nAuthorization: Bearer\r\n\t{KEY}\r\n",
        f"GET /livez HTTP/1.1\r\nAuthorization: Bearer \x00{KEY}\r\n",
        f"GET /livez HTTP/1.1\r\nAuthorization Bearer {KEY}\r\n",
        f"GET http://[::/?access_token={KEY} HTTP/1.1\r\n",
        f"GET livez?access_token={KEY} HTTP/1.1\r\n",
        f"{KEY} /livez HTTP/1.1\r\n",
        f"GET /livez {KEY}\r\n",
    ],
)
async def test_the_answer_to_a_malformed_head_has_no_secret(serving: Serving, head: str) -> None:
    answer = Answer(await serving.talk(f"{head}Host: h\r\n{CLOSE}\r\n\r\n".encode()))
    assert answer.status == 400
    assert answer.kind == "malformed-request"
    assert SECRET[:4] not in answer.rest.decode()
