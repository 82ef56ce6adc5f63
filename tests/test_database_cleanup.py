"""Rows committed by one test are gone before the next one begins."""

import threading
import time

import pytest
from django.db import connection, transaction

from bridge.models import Draft
from config.accounts.models import User
from tests.databases import empty_tables
from tests.factories import ConversationFactory, UserFactory
from tests.scenarios.concurrency import is_lock_awaited


@pytest.mark.django_db(transaction=True)
def test_a_request_that_outlives_its_test_does_not_block_the_cleanup() -> None:
    """A closing page sends the last typed text; that row and the truncation lock each other's tables."""
    author, chat = UserFactory(), ConversationFactory()
    has_written = threading.Event()

    def keep_the_draft() -> None:
        try:
            with transaction.atomic():
                Draft.objects.create(conversation=chat, user=author, text="Здрав")
                has_written.set()
                for _ in range(100):
                    if is_lock_awaited():
                        break
                    time.sleep(0.02)
                User.objects.select_for_update().get(pk=author.pk)
        finally:
            connection.close()

    late = threading.Thread(target=keep_the_draft)
    late.start()
    has_written.wait(5)

    empty_tables()
    late.join(5)

    assert not User.objects.exists()
    assert not Draft.objects.exists()
