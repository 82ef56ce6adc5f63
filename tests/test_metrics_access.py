"""METRICS_TOKEN: it opens /metrics and nothing else, also while the database is down."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from bridge.metrics import catalog, counters, flushing
from config.monitoring import exposition

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("header", ["Bearer", "Token"])
def test_the_shared_token_opens_metrics_without_a_database(
    header: str, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.METRICS_TOKEN = "m" * 24

    def fail(*arguments: Any, **options: Any) -> None:
        raise OperationalError("no connection")

    monkeypatch.setattr(connection, "cursor", fail)
    monkeypatch.setattr(exposition.transaction, "atomic", lambda: (_ for _ in ()).throw(OperationalError()))
    monkeypatch.setattr("channels_setup.models.ApiChannel.objects.order_by", fail)
    client = Client(REMOTE_ADDR="203.0.113.9")
    counters.pending.take()
    flushing.flusher.redis.client.delete(flushing.HASH)
    catalog.WINDOWS_CLOSED.count(number=6)

    answer = client.get("/metrics", headers={"authorization": f"{header} {'m' * 24}"})
    refused = client.get("/metrics", headers={"authorization": f"{header} {'n' * 24}"})

    text = answer.content.decode()
    assert answer.status_code == 200 and refused.status_code in (403, 503)
    assert "okno_database_up 0.0" in text and "okno_windows_closed_total 6.0" in text
    assert 'okno_scrape_group_up{group="deliveries"} 0.0' in text


@pytest.mark.parametrize("path", ["/api/v1/conversations/", "/chats/", "/admin/"])
def test_the_shared_token_opens_nothing_else(path: str, settings: Any) -> None:
    settings.METRICS_TOKEN = "m" * 24
    client = Client(REMOTE_ADDR="203.0.113.9", headers={"authorization": "Bearer " + "m" * 24})

    assert client.get("/metrics").status_code == 200
    assert client.get(path).status_code in (302, 401, 403)


def test_no_token_setting_means_no_shared_token(settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    client = Client(REMOTE_ADDR="203.0.113.9")

    assert client.get("/metrics", headers={"authorization": "Bearer "}).status_code == 403
