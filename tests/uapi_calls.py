"""Calls of the public API in every encoding that its callers use."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django.test import Client

ENCODINGS = ["json", "form", "multipart", "query"]


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Return form fields as a JSON object: ``{"a[b]": 1}`` becomes ``{"a": {"b": 1}}``."""
    made: dict[str, Any] = {}
    for name, value in flat.items():
        first, *rest = name.replace("]", "").split("[")
        at: Any = made
        for step, following in zip([first, *rest], [*rest, None], strict=True):
            if following is None:
                at[step] = value
            else:
                at = at.setdefault(step, {})
    return {name: [value["0"]] if isinstance(value, dict) and "0" in value else value for name, value in made.items()}


def post(client: Client, method: str, flat: dict[str, Any], encoding: str = "json") -> Any:
    url = f"/uapi/{method}"
    if encoding == "json":
        return client.post(url, json.dumps(nested(flat)), content_type="application/json")
    if encoding == "form":
        return client.post(url, urlencode(flat), content_type="application/x-www-form-urlencoded")
    if encoding == "multipart":
        return client.post(url, flat)
    return client.post(f"{url}?{urlencode(flat)}")


def call(client: Client, method: str, flat: dict[str, Any], encoding: str = "json") -> Any:
    """Return the response's JSON. The status is always 200."""
    response = post(client, method, flat, encoding)
    assert response.status_code == 200, response.content
    return response.json()


def call_with_key(client: Client, method: str, key: str, **body: Any) -> Any:
    """Post a JSON body with an API key, and return the response's JSON."""
    response = client.post(f"/uapi/{method}", json.dumps({"api_token": key, **body}), content_type="application/json")
    assert response.status_code == 200, response.content
    return response.json()
