"""Webhooks of the training phone."""

import json
from typing import Any

from django.test import Client

from channels_setup.models import ApiChannel


def post(client: Client, channel: ApiChannel, body: Any, **more: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(channel.webhook_path, raw, content_type=more.pop("content_type", "application/json"), **more)


def says(text: str, *, number: int = 0, who: str = "anna", **more: Any) -> dict[str, Any]:
    return {"type": "message", "id": f"{who}-{number}", "from": {"id": who, "name": who.title()}, "text": text} | more
