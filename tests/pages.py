"""Pages as tests ask for them."""

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from whitenoise.middleware import WhiteNoiseMiddleware


def signed_in(client: Client, user: Any) -> Client:
    """Reads English, whatever language the portal is set to."""
    client.force_login(user)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    return client


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
