"""A truncated request reaches no view, for any URL and encoding. Tests on real sockets: tests/faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from django.urls import get_resolver

from config.serving.body_buffer import BodyBuffer
from tests import routes

BODIES = {
    "application/json": b'{"text": "words"}',
    "application/x-www-form-urlencoded": b"username=sam&password=words",
    "multipart/form-data; boundary=XX": b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--XX--\r\n',
    "application/csp-report": b'{"csp-report": {}}',
    "text/plain": b"words",
    "": b"words",
}


@pytest.fixture
def gate() -> Iterator[BodyBuffer]:
    def application(environ: dict[str, Any], _start: Callable[..., Any]) -> Any:
        raise AssertionError(environ["PATH_INFO"])

    made = BodyBuffer(application, slots=1, is_refused=lambda _path: False)
    yield made
    made.slots.free.get().close()


@pytest.fixture(scope="module")
def paths() -> list[str]:
    return routes.paths()


def test_the_paths_cover_all_routes(paths: list[str]) -> None:
    names = {"/login/", "/uapi/chat/addMessage/", "/webhooks/sandbox/1/", "/chats/1/send/", "/api/v1/contacts/1/"}

    assert names < set(paths)
    assert len(paths) > 0.9 * sum(1 for _ in routes.of(get_resolver().url_patterns))


@pytest.mark.parametrize("is_behind_proxy", [False, True])
def test_no_view_sees_a_truncated_body(
    gate: BodyBuffer, settings: Any, paths: list[str], is_behind_proxy: bool
) -> None:
    settings.BEHIND_PROXY = is_behind_proxy
    statuses = set()
    for path in paths:
        for content_type, body in BODIES.items():
            for sent in (b"", body[: len(body) // 2], body[:-3]):
                for framing in ({"CONTENT_LENGTH": str(len(body))}, {"HTTP_TRANSFER_ENCODING": "chunked"}):
                    environ = {"PATH_INFO": path, "CONTENT_TYPE": content_type, "REMOTE_ADDR": "203.0.113.7"}
                    environ |= {"HTTP_COOKIE": "sessionid=x", "HTTP_AUTHORIZATION": "Token x"} | framing
                    scope = environ | {"wsgi.input": BytesIO(sent)}
                    gate(scope, lambda status, _headers: statuses.add(status[:3]))

    assert statuses == {"400", "411"}
