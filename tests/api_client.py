"""A program that calls /api/v1/ with one user's token."""

import json
from typing import Any

from django.test import Client

from tests.factories import token_of

API = "/api/v1"


class Api:
    """API client with one user's token."""

    def __init__(self, user: Any = None) -> None:
        self.client = Client()
        self.headers = token_of(user) if user else {}

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"{API}/{path}", query, headers=self.headers)

    def rows(self, path: str, **query: Any) -> list[dict[str, Any]]:
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.content
        return list(answer.json()["results"])

    def ids(self, path: str, **query: Any) -> list[int]:
        return [row["id"] for row in self.rows(path, **query)]

    def post(self, path: str, body: Any = None, *, key: str = "", **headers: str) -> Any:
        headers |= {"idempotency-key": key} if key else {}
        raw = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return self.client.post(f"{API}/{path}", raw, content_type="application/json", headers=self.headers | headers)
