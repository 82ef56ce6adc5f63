"""The cache in PostgreSQL: what one web process counted or marked as used, the others know."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.totp.internal import auth as totp
from django.core.cache import cache, caches
from django.db import connection
from django.test import Client
from django.utils import timezone

from bridge.maintenance import housekeeping
from config import settings as portal
from config.accounts.models import SharedCacheEntry
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def other_process(settings: Any) -> Iterator[Any]:
    """Yield a switch to a cache object without memory, as another web process has."""
    settings.CACHES = portal.CACHES
    yield lambda: delattr(caches._connections, "default")
    cache.clear()


def test_a_used_code_is_refused_by_another_web_process(other_process: Any) -> None:
    user = UserFactory()
    secret = totp.generate_totp_secret()
    factor = totp.TOTP.activate(user, secret)
    code = totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time())))
    assert factor.validate_code(code)
    assert SharedCacheEntry.objects.filter(cache_key__contains="totp.used").exists()
    other_process()
    assert not factor.validate_code(code)


def test_attempts_are_counted_across_web_processes(other_process: Any) -> None:
    user = UserFactory(username="boris")
    secret = totp.generate_totp_secret()
    totp.TOTP.activate(user, secret)
    browser = Client()
    user.set_password("correct-Horse-battery")
    user.save()
    browser.post("/login/", {"username": "boris", "password": "correct-Horse-battery"})
    for _attempt in range(6):
        browser.post("/account/second-factor/authenticate/", {"code": "000000"})
        other_process()
    code = totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time())))
    assert browser.post("/account/second-factor/authenticate/", {"code": code}).status_code == 200
    assert browser.get("/chats/").status_code == 302


def test_the_cache_uses_the_table_of_the_migration() -> None:
    assert portal.CACHES["default"]["LOCATION"] == SharedCacheEntry._meta.db_table
    with connection.cursor() as cursor:
        columns = {
            column.name
            for column in connection.introspection.get_table_description(cursor, SharedCacheEntry._meta.db_table)
        }
    assert columns == {"cache_key", "value", "expires"}


def test_expired_entries_are_deleted() -> None:
    now = timezone.now()
    SharedCacheEntry.objects.create(cache_key="old", value="", expires=now - timedelta(seconds=1))
    SharedCacheEntry.objects.create(cache_key="current", value="", expires=now + timedelta(hours=1))
    housekeeping.prune_expired_rows()
    assert [entry.cache_key for entry in SharedCacheEntry.objects.all()] == ["current"]
