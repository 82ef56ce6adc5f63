"""Requests of signed-in users in tests: pages, posted forms and the queries of a page."""

import re
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from whitenoise.middleware import WhiteNoiseMiddleware

SCRIPT = {"HX-Request": "true"}  # headers of a request by htmx
CHAT = re.compile(r"/chats/(\d+)/")


def signed_in(client: Client, user: Any) -> Client:
    """Sign the user in, with English as the browser's language."""
    client.force_login(user)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    return client


def with_desk_fields(post: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `Client.post` to add the hidden fields of every chat form. `Client.generic` adds nothing."""

    def post_form(self: Client, path: str, data: Any = None, *args: Any, **kwargs: Any) -> Any:
        chat = CHAT.match(path)
        is_form = isinstance(data, dict | None) and not args and "content_type" not in kwargs
        if chat and is_form and settings.SESSION_COOKIE_NAME in self.cookies:
            data = {"for_chat": chat[1], "for_user": self.session.get("_auth_user_id", "")} | (data or {})
        return post(self, path, data, *args, **kwargs)

    return post_form


def list_queries(client: Client, address: str) -> list[str]:
    """Return the SQL of all queries of a page."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


def cache_static_files(middleware: type[WhiteNoiseMiddleware]) -> Callable[[WhiteNoiseMiddleware], None]:
    """Wrap `add_files_from_finders` to list the files once per process, as a web process does."""
    list_files = middleware.add_files_from_finders
    files_by_options: dict[tuple[Any, ...], dict[str, Any]] = {}

    def add_files_from_finders(self: WhiteNoiseMiddleware) -> None:
        options = (self.static_prefix, self.max_age, self.allow_all_origins, self.charset, self.add_headers_function)
        if options not in files_by_options:
            list_files(self)
            files_by_options[options] = dict(self.files)
        self.files.update(files_by_options[options])

    return add_files_from_finders


def page_html(client: Client, path: str, data: dict[str, Any] | None = None, **options: Any) -> str:
    """Return the HTML of a page. Fail if the answer is no page: an error or a redirect holds no text either."""
    response = client.get(path, data, **options)
    assert response.status_code == 200, (path, response.status_code)
    return response.content.decode()
