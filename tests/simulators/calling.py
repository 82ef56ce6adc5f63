"""Helpers for tests of the Meta simulator: calls of its API, and readers of its webhooks."""

from __future__ import annotations

from typing import Any

import requests

from tests.receiver import Receiver
from tests.simulators.meta import MetaSimulator

ANNA = "447700900101"
HELLO: dict[str, Any] = {"type": "text", "text": {"body": "Здравствуйте"}}


def call(
    meta: MetaSimulator, path: str, body: Any = None, *, method: str = "POST", token: str = "", **more: Any
) -> Any:
    headers = {meta.auth_header: token or f"Bearer {meta.access_token}"}
    return requests.request(method, f"{meta.url}/v25.0/{path}", headers=headers, json=body, timeout=10, **more)


def get(meta: MetaSimulator, path: str, **query: Any) -> Any:
    return call(meta, path, method="GET", params=query)


def send(meta: MetaSimulator, *, to: str | None = f"+{ANNA}", **content: Any) -> Any:
    body = {"messaging_product": "whatsapp", "recipient_type": "individual", "to": to} | (content or HELLO)
    return call(meta, f"{meta.phone_number_id}/messages", {k: v for k, v in body.items() if v is not None})


def code(answer: Any) -> int:
    return int(answer.json()["error"]["code"])


def values(receiver: Receiver, part: str) -> list[dict[str, Any]]:
    """Return the items of one list (such as ``messages``) in all webhooks, in their order."""
    found: list[dict[str, Any]] = []
    for request in list(receiver.requests):
        for entry in request.json["entry"]:
            for change in entry["changes"]:
                found += change["value"].get(part, [])
    return found


def changes(receiver: Receiver) -> list[dict[str, Any]]:
    return [change for request in receiver.requests for entry in request.json["entry"] for change in entry["changes"]]
