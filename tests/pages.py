"""Pages as tests ask for them."""

from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext


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
