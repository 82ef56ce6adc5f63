"""Pages as tests ask for them."""

import re
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from whitenoise.middleware import WhiteNoiseMiddleware

CHAT = re.compile(r"/chats/(\d+)/")


def signed_in(client: Client, user: Any) -> Client:
    """Reads English, whatever language the portal is set to."""
    client.force_login(user)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    return client


def with_fields_of_the_desk(post: Callable[..., Any]) -> Callable[..., Any]:
    """A test client's ``post`` that fills in what every form of a chat carries. ``generic`` posts as it is told."""

    def filled(self: Client, path: str, data: Any = None, *args: Any, **kwargs: Any) -> Any:
        chat = CHAT.match(path)
        is_form = isinstance(data, dict | None) and not args and "content_type" not in kwargs
        if chat and is_form and settings.SESSION_COOKIE_NAME in self.cookies:
            data = {"for_chat": chat[1], "for_user": self.session.get("_auth_user_id", "")} | (data or {})
        return post(self, path, data, *args, **kwargs)

    return filled


def questions(client: Client, address: str) -> list[str]:
    """What a page asks of the database."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


def static_files_listed_once(middleware: type[WhiteNoiseMiddleware]) -> Callable[[WhiteNoiseMiddleware], None]:
    """Instead of whitenoise's own: a web process lists its files once, the tests make a client several times each."""
    list_files = middleware.add_files_from_finders
    listed: dict[tuple[Any, ...], dict[str, Any]] = {}

    def add_files_from_finders(self: WhiteNoiseMiddleware) -> None:
        kind = (self.static_prefix, self.max_age, self.allow_all_origins, self.charset, self.add_headers_function)
        if kind not in listed:
            list_files(self)
            listed[kind] = dict(self.files)
        self.files.update(listed[kind])

    return add_files_from_finders


def page_html(client: Client, path: str, data: dict[str, Any] | None = None, **options: Any) -> str:
    """Return the HTML of a page. Fail if the answer is no page: an error or a redirect holds no text either."""
    response = client.get(path, data, **options)
    assert response.status_code == 200, (path, response.status_code)
    return response.content.decode()
