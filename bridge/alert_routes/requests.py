"""Requests that carry an alert message to Telegram, Slack, Mattermost or a webhook, and what their answers mean."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.conf import settings

from channels_setup.models import AlertRoute
from channels_setup.providers.base import ACCEPTED, PERMANENT, RETRY, ApiRequest, ApiResponse, Outcome
from channels_setup.providers.base.http_judging import judge_http
from channels_setup.providers.base.signed_events import sign_body

MAX_RETRY_AFTER = 3_600.0
Kind = AlertRoute.Kind


@dataclass(frozen=True, kw_only=True)
class RouteAccount:
    """A route as its requests need it, with its secret in clear: never log, never ``repr``."""

    kind: str
    target: str
    secret: str = field(repr=False)


def build_request(account: RouteAccount, payload: Mapping[str, Any], *, key: str, at: datetime) -> ApiRequest:
    """Build the POST of a message. ``key`` is the same in every attempt."""
    return BUILDERS[account.kind](account, payload, key, at)


def _build_telegram(account: RouteAccount, payload: Mapping[str, Any], key: str, at: datetime) -> ApiRequest:
    body = {
        "chat_id": account.target,
        "text": _join_text(payload),
        "link_preview_options": {"is_disabled": True},
    }
    url = f"{settings.ALERT_TELEGRAM_URL.rstrip('/')}/bot{account.secret}/sendMessage"
    return _build_post(url, body)


def _build_chat(account: RouteAccount, payload: Mapping[str, Any], key: str, at: datetime) -> ApiRequest:
    text = html.escape(_join_text(payload), quote=False)  # the control characters of Slack
    return _build_post(account.secret, {"text": text})


def _build_webhook(account: RouteAccount, payload: Mapping[str, Any], key: str, at: datetime) -> ApiRequest:
    """Sign by Standard Webhooks, as events for API channels are."""
    data = {name: value for name, value in payload.items() if name != "type"}
    request = _build_post(account.target, {"type": payload["type"], "timestamp": at.isoformat(), "data": data})
    signature = sign_body(request.body, key=key, at=at, secrets=[account.secret])
    return replace(request, headers={**request.headers, **signature})


BUILDERS: Mapping[str, Callable[[RouteAccount, Mapping[str, Any], str, datetime], ApiRequest]] = {
    Kind.TELEGRAM: _build_telegram,
    Kind.CHAT: _build_chat,
    Kind.WEBHOOK: _build_webhook,
}


def _join_text(payload: Mapping[str, Any]) -> str:
    """Return subject and text. The text of a single alert begins with its subject."""
    subject, text = str(payload["subject"]), str(payload["text"])
    return text if text.startswith(subject) else f"{subject}\n\n{text}"


def _build_post(url: str, body: Mapping[str, Any]) -> ApiRequest:
    return ApiRequest(
        method="POST",
        url=url,
        headers={"content-type": "application/json"},
        body=json.dumps(body, ensure_ascii=False).encode(),
    )


def judge_response(response: ApiResponse) -> Outcome:
    """Judge an answer. A refusal is final for this message: the route is marked, and the next message tries again."""
    by_status = judge_http(response)
    answer = _read_answer(response)
    if by_status.verdict == ACCEPTED:
        return by_status
    if by_status.verdict == RETRY:
        wait = answer.retry_after if by_status.retry_after is None else by_status.retry_after
        wait = None if wait is None else min(wait, MAX_RETRY_AFTER)
        if by_status.reason == "rate_limited":
            return replace(by_status, retry_after=wait, whole_channel=wait is not None)
        return replace(by_status, reason="alert_route_unreachable", details=answer.sentence)
    return Outcome(verdict=PERMANENT, reason="alert_route_refused", code=str(response.status), details=answer.sentence)


@dataclass(frozen=True, kw_only=True)
class _Answer:
    sentence: str
    retry_after: float | None = None


def _read_answer(response: ApiResponse) -> _Answer:
    """Return the service's own words, and how long Telegram asks to wait."""
    text = response.body[:2_000].decode("utf-8", "replace")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        return _Answer(sentence=" ".join(text.split())[:200])
    parameters = data.get("parameters")
    wait = parameters.get("retry_after") if isinstance(parameters, dict) else None
    sentence = data.get("description") or data.get("message") or data.get("error") or ""
    is_number = isinstance(wait, int | float) and not isinstance(wait, bool) and 0 <= wait < 1e9
    return _Answer(sentence=str(sentence)[:200], retry_after=float(str(wait)) if is_number else None)
